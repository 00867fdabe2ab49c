"""The command line: faults are told with key, value and reason, and end with exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from sipsvc.store import cdrs
from sipsvc.store.database import open_database
from sipsvc.store.models import Cdr
from tests.cdr.records import whole_call


def sipsvc(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sipsvc", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("text", "key", "said_too"),
    [
        ('[sip]\nlisten = ["udp:127.0.0.1:99999"]\n', "sip.listen", "99999"),
        ('[sip]\nlissten = ["udp:127.0.0.1:5060"]\n', "sip.lissten", "unknown key"),
        ('[sip]\nlisten = ["tls:127.0.0.1:5061"]\n', "sip", "needs sip.tls.certificate"),
        ('[sip.tls]\ncertificate = "nowhere.pem"\n', "sip.tls.certificate", "No such file"),
        ('[log]\nlevel = "loud"\n', "log.level", "loud"),
        ('[api]\nenabled = "perhaps"\n', "api.enabled", "perhaps"),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_wrong_setting_is_named(tmp_path: Path, command: str, text: str, key: str, said_too: str) -> None:
    (tmp_path / "sipsvc.toml").write_text(text)
    done = sipsvc(command, "--config", "sipsvc.toml", folder=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    for part in (key, said_too):
        assert part in said, said
    assert "Traceback" not in said, said


def test_a_sound_configuration_passes(tmp_path: Path) -> None:
    (tmp_path / "sipsvc.toml").write_text('[sip]\nlisten = ["udp:127.0.0.1:5060"]\n')
    done = sipsvc("check-config", "--config", "sipsvc.toml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = sipsvc("check-config", "--config", "nowhere.toml", folder=tmp_path)
    assert done.returncode == 2
    assert "nowhere.toml" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.rule("EX-1")
def test_a_call_is_explained(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.02\n")
    (tmp_path / "bundle.toml").write_text(
        '[partner]\nname = "P"\n[[pricelist]]\nid = "retail"\nname = "R"\nrows = "prices.csv"\n'
        '[[gateway]]\nid = "alpha"\nname = "Alpha"\nhost = "192.0.2.1"\ncoverage = "prices.csv"\n'
        '[[customer]]\nid = "acme"\nname = "A"\npricelist = "retail"\n[customer.caller_ids]\nallowed = ["*"]\n'
    )
    assert sipsvc("load", "bundle.toml", folder=tmp_path).returncode == 0
    question = ("explain", "acme", "+442079460018", "--caller", "442079460012")
    done = sipsvc(*question, folder=tmp_path)
    assert "1. Alpha (alpha)\n   INVITE sip:442079460018@192.0.2.1:5060 SIP/2.0\n" in done.stdout, done.stderr
    said = json.loads(sipsvc(*question, "--json", "--at", "2030-01-31T00:00:00+01:00", folder=tmp_path).stdout)
    assert (said["outcome"], said["at"]) == ("route", "2030-01-30T23:00:00.000Z")
    wrong = sipsvc(*question, "--at", "2030-01-31", folder=tmp_path)
    assert (wrong.returncode, "--at" in wrong.stderr) == (2, True)
    nobody = sipsvc("explain", "nobody", "+442079460018", folder=tmp_path)
    assert nobody.returncode == 1
    assert "there is no customer 'nobody'" in nobody.stderr
    assert "Traceback" not in nobody.stderr + wrong.stderr


def test_the_ledger_is_checked(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.02\n")
    (tmp_path / "bundle.toml").write_text(
        '[partner]\nname = "P"\n[[pricelist]]\nid = "retail"\nname = "R"\nrows = "prices.csv"\n'
        '[[customer]]\nid = "acme"\nname = "A"\npricelist = "retail"\n'
    )
    assert sipsvc("load", "bundle.toml", folder=tmp_path).returncode == 0
    engine = open_database(f"sqlite:///{tmp_path / 'data' / 'sipsvc.db'}")
    with Session(engine) as session, session.begin():
        cdrs.upsert(session, [cdrs.merge(*whole_call(1))])
    good = sipsvc("check-ledger", folder=tmp_path)
    assert (good.returncode, good.stdout) == (0, "the ledger adds up: 2 postings\n"), good.stderr
    with Session(engine) as session, session.begin():
        session.execute(update(Cdr).values(sell_amount=Decimal(7)))
    engine.dispose()
    bad = sipsvc("check-ledger", folder=tmp_path)
    said = "calls of customer acme cost 7.000000 USD, posted for them is 0.020000\n"
    assert (bad.returncode, bad.stdout) == (1, said), bad.stderr
