"""`sipsvc import`: what it shows, asks and does, and how it ends."""

from __future__ import annotations

import io
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sipsvc.__main__ import main
from sipsvc.store.changes import Changes, entries, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import Gateway, Import, PriceList
from sipsvc.store.types import instant
from tests.imports.world import SOMEBODY, add_pricelist, in_force

SHEET = "prefix,name,rate\n44,UK,0.01\n33,France,0.02\n"


class Command:
    """The command as `main` runs it, in this process, in a folder with `sheet.csv`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.write(SHEET)

    def write(self, text: str | bytes) -> None:
        (self.folder / "sheet.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    def __call__(self, *words: str, answer: str = "", status: int = 0) -> str:
        """What it said, on both of its streams."""
        self._monkeypatch.setattr(sys, "argv", ["sipsvc", "import", *words])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            main()
        said = "".join(self._capsys.readouterr())
        assert ended.value.code == status, said
        return said


@pytest.fixture
def command(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SIPSVC_DATA__DATABASE", url)
    monkeypatch.setenv("COLUMNS", "200")
    return Command(folder, monkeypatch, capsys)


def imports(engine: Engine) -> list[Import]:
    with Session(engine) as session:
        found = list(session.scalars(select(Import).order_by(Import.id)))
        session.expunge_all()
        return found


def counted(said: str) -> dict[str, str]:
    """The preview's table, by its first column."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    return {row[0]: row[1] for row in rows}


@pytest.mark.rule("TG-7")
def test_preview_and_apply(engine: Engine, command: Command) -> None:
    said = command("alpha", "sheet.csv", "--yes")
    assert counted(said)["new"] == "2"
    assert "applied, in force from" in said
    assert in_force(engine, Gateway, "alpha", utc_now()) == {
        "44": ("UK", Decimal("0.01")), "33": ("France", Decimal("0.02")),
    }  # fmt: skip
    (item,) = imports(engine)
    assert (item.status, item.source, item.filename, item.rows) == ("applied", "upload", "sheet.csv", 2)
    with Session(engine) as session:
        assert {entry.actor for entry in entries(session, "import", item.id)} == {"command line"}
    command.write("prefix,name,rate\n44,UK,0.02\n49,Germany,0.01\n")
    counts = counted(command("alpha", "sheet.csv", "--mode", "partial", "--yes"))
    assert (counts["new"], counts["dearer"], counts["gone"]) == ("1", "1", "0")
    assert set(in_force(engine, Gateway, "alpha", utc_now())) == {"44", "33", "49"}
    assert "nothing to change" in command("alpha", "sheet.csv", "--mode", "partial", "--yes")
    assert len(imports(engine)) == 2


def test_it_asks_first(engine: Engine, command: Command) -> None:
    assert "nothing applied" in command("alpha", "sheet.csv", answer="n\n", status=1)
    command("alpha", "sheet.csv", answer="", status=1)
    assert imports(engine) == []
    assert "apply this to alpha now?" in command("alpha", "sheet.csv", answer="y\n")
    assert [item.status for item in imports(engine)] == ["applied"]


def test_a_dry_run_stores_nothing(engine: Engine, command: Command) -> None:
    assert counted(command("retail", "sheet.csv", "--dry-run"))["new"] == "2"
    assert imports(engine) == []


@pytest.mark.rule("TG-7")
def test_at_a_time(engine: Engine, command: Command) -> None:
    later = utc_now() + timedelta(days=1)
    command("retail", "sheet.csv", "--at", instant(later), "--yes")
    assert in_force(engine, PriceList, "retail", later - timedelta(seconds=1)) == {}
    assert len(in_force(engine, PriceList, "retail", later)) == 2
    command.write("prefix,name,rate\n44,UK,0.02\n")
    said = command("retail", "sheet.csv", "--yes", status=1)
    assert "begin or end at" in said
    assert len(imports(engine)) == 1


@pytest.mark.rule("TG-7")
def test_rejected_rows_are_written_to_be_corrected(engine: Engine, command: Command) -> None:
    command.write(SHEET + "0049,Germany,0.02\n")
    said = command("alpha", "sheet.csv", "--yes", "--rejected", "rejected.csv", status=1)
    assert "row 4 column prefix '0049': an international number never begins with 0" in said
    assert imports(engine) == []
    lines = (command.folder / "rejected.csv").read_text().splitlines()
    assert lines[0] == "fault,prefix,name,rate"
    assert lines[1] == "row 4: prefix: an international number never begins with 0,0049,Germany,0.02"
    command("alpha", "sheet.csv", "--yes", "--accept-rejected")
    corrected = (command.folder / "rejected.csv").read_text().replace("0049", "49")
    command.write(corrected)
    command("alpha", "sheet.csv", "--mode", "partial", "--yes")
    assert set(in_force(engine, Gateway, "alpha", utc_now())) == {"44", "33", "49"}


def test_what_cannot_be_used_is_told_in_a_line(engine: Engine, command: Command) -> None:
    with writing(engine) as session:
        add_pricelist(Changes(session, SOMEBODY), "alpha")
    assert "say --gateway or --pricelist" in command("alpha", "sheet.csv", status=2)
    command("alpha", "sheet.csv", "--pricelist", "--yes")
    assert len(in_force(engine, PriceList, "alpha", utc_now())) == 2
    wrong: list[tuple[tuple[str, ...], str]] = [
        (("nobody", "sheet.csv"), "there is no such gateway or price list"),
        (("beta", "sheet.csv", "--pricelist"), "there is no such price list"),
        (("beta", "nothing.csv"), "No such file"),
        (("beta", "sheet.csv", "--mode", "some"), "must be full or partial"),
        (("beta", "sheet.csv", "--at", "tomorrow"), "is not an instant"),
        (("beta", "sheet.csv", "--at", "2020-01-01T00:00:00Z"), "is in the past"),
        (("beta", "sheet.csv", "--at", "2030-01-01T00:00:00"), "names no time zone"),
        (("beta", "sheet.csv", "--gateway", "--pricelist"), "exclude each other"),
    ]
    for words, why in wrong:
        assert why in command(*words, status=2)
    command.write(b"prefix,name,rate\n44,C\xf4te,1\n")
    assert "is not UTF-8" in command("beta", "sheet.csv", status=2)
    command.write("prefix,name\n")
    assert "sheet.csv row 1 = None: column rate is missing" in command("beta", "sheet.csv", status=2)
