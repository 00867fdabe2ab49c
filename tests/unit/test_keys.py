"""Keys change, and nothing that was sealed with the one before is turned away for it (SIP-16, SIP-21)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from sipsvc import keyring
from sipsvc.dialog import Tokens
from sipsvc.errors import ConfigError
from sipsvc.keys import derive, key_id
from tests.unit.test_digest import Phone, book, verdict
from tests.unit.test_restart import moved, reborn
from tests.unit.wire import CUSTOMER, GATES, SECRET, Wire, directory, gateway, request, talking

DAY = 86_400_000
OTHER, THIRD = b"a" * 32, b"c" * 32


@pytest.mark.rule("SIP-16")
def test_the_keys_of_these_tests_can_be_told_apart() -> None:
    assert len({key_id(secret) for secret in (SECRET, OTHER, THIRD)}) == 3
    assert re.fullmatch("[0-9a-f]", key_id(SECRET))
    keys = derive((OTHER, SECRET, OTHER), b"a")
    assert list(keys) == [key_id(OTHER), key_id(SECRET)]
    assert set(keys.values()).isdisjoint(derive((OTHER, SECRET), b"b").values())


@pytest.mark.rule("SIP-21")
def test_a_nonce_of_the_key_before_is_good_and_one_of_a_key_that_is_gone_is_not() -> None:
    phone = Phone(Wire(book()))
    nonces = [phone.nonce() for _ in range(3)]
    phone.wire.engine.rekey(OTHER, (SECRET,))
    assert verdict(phone.say([phone.line(nonces[0])])) == "passed"
    fresh = phone.nonce()
    assert fresh[0] == key_id(OTHER) != nonces[0][0]
    assert verdict(phone.say([phone.line(fresh)])) == "passed"
    # The id alone opens nothing.
    assert verdict(phone.say([phone.line(key_id(OTHER) + nonces[1][1:])])) == "407"
    phone.wire.engine.rekey(THIRD, (OTHER,))
    assert verdict(phone.say([phone.line(nonces[2])])) == "407"


@pytest.mark.rule("SIP-16", "law 8")
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_call_keeps_its_token_whatever_becomes_of_the_keys(side: str) -> None:
    """Over a change, a restart with other keys only, and another one."""
    talk = talking(Wire(directory(gateway())))
    (route,) = talk.ok.all("record-route")
    assert route[5] == key_id(SECRET)
    talk.wire.engine.rekey(OTHER, ())
    talk.wire.give(talk.by_caller("UPDATE", 2, Contact="<sip:ann@198.51.100.10:5063>"))
    new = talking(talk.wire, invite=request(Call_ID="call-2", Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-2"))
    assert new.ok.all("record-route")[0][5] == key_id(OTHER)
    wire = reborn(talk.wire)
    wire.engine.rekey(THIRD, ())
    again = reborn(wire, records=talk.wire.records + wire.records)
    for one, call_id in ((talk, "call-1"), (new, "call-2")):
        one = moved(one, again)
        data = (
            one.by_caller("BYE", 3, Call_ID=call_id) if side == "caller" else one.by_callee("BYE", 1, Call_ID=call_id)
        )
        data = data.replace(b"branch=z9hG4bK-", f"branch=z9hG4bK-{call_id}".encode(), 1)
        assert [sent.what for sent in again.give(data, CUSTOMER if side == "caller" else GATES[0])] == ["BYE"]


@pytest.mark.rule("SIP-16", "law 8")
def test_the_token_of_a_record_that_does_not_hold_it_is_that_of_the_first_key() -> None:
    token = Tokens((OTHER, SECRET)).make_first("0123456789abcdef", "ann")
    assert token == "10123456789abcdef" + Tokens((SECRET,)).make("0123456789abcdef", "ann")[-16:]


@pytest.mark.rule("SIP-16", "SIP-21")
def test_the_file_of_keys(tmp_path: Path) -> None:
    first = keyring.load(tmp_path, 1_000)
    assert len(first) == 1
    assert len(first[0]) == 32
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert keyring.load(tmp_path, 30 * DAY) == first  # not 30 days old yet
    second = keyring.load(tmp_path, 30 * DAY + 1_000)
    assert second[1:] == first
    assert keyring.load(tmp_path, 30 * DAY + 2_000) == second
    third = keyring.rotate(tmp_path, 30 * DAY + 3_000)
    assert third[1:] == second
    fourth = keyring.rotate(tmp_path, 30 * DAY + 4_000)
    assert fourth[1:] == third[:2]
    assert len({key_id(secret) for secret in fourth}) == 3
    assert os.listdir(tmp_path) == ["keys.json"]


@pytest.mark.rule("SIP-16", "SIP-21")
def test_the_one_secret_of_before_becomes_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    made = int((tmp_path / "secret").stat().st_mtime * 1_000)
    assert keyring.load(tmp_path, made + DAY) == (SECRET,)
    assert os.listdir(tmp_path) == ["keys.json"]
    assert keyring.load(tmp_path, made + 31 * DAY)[1:] == (SECRET,)


BROKEN = [b"", b"{}", b"[]", b'{"keys": []}', b'{"keys": [{"made_at": 1, "secret": "00"}]}', b'{"keys": 5}', b"\xff"]


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("content", [*BROKEN, json.dumps({"keys": [{"secret": "00" * 32}]}).encode()])
def test_a_damaged_file_is_named_and_left(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    for use in (keyring.load, keyring.rotate):
        with pytest.raises(ConfigError, match=r"keys\.json"):
            use(tmp_path, 1_000)
    assert path.read_bytes() == content


@pytest.mark.rule("SIP-16")
def test_a_secret_of_the_wrong_length_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(ConfigError, match="must hold 32 bytes"):
        keyring.load(tmp_path, 1_000)
