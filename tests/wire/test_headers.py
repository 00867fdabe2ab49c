"""Two gateways that want calls dressed differently, as SIPp sees them: neither sees what is for the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipsvc.demo.agent import Message
from sipsvc.demo.server import Server, free_port
from tests.wire.conftest import CALLER, NUMBER, Stage, serving, write_bundle

ALPHA = """
remote_party_id = true
caller_prefix = "77"
caller_prefix_in = ["from", "rpid"]
uri_prefix = "9#"
"""
BETA = """
p_asserted_identity = true
plus_in_caller = true
trusted = true
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("headers")
    alpha, beta = free_port(), free_port()
    bundle = write_bundle(folder / "bundle", alpha, beta)
    text = bundle.read_text()
    for port, wanted, coverage in ((alpha, ALPHA, "alpha.csv"), (beta, BETA, "beta.csv")):
        begin, end = text.index(f"port = {port}\n"), text.index(f'coverage = "{coverage}"')
        text = f"{text[:begin]}port = {port}\nring_timeout_s = 3{wanted}{text[end:]}"
    bundle.write_text(text)
    server = Server(folder, bundle)
    with serving(server):
        yield Stage(server, alpha, beta)


def identities(message: Message) -> dict[str, str]:
    """What it says of its caller; of our own name only that it is there."""
    found = {name: message.get(name) for name in ("p-asserted-identity", "remote-party-id", "privacy", "user-agent")}
    return {name: value.replace("@127.0.0.1>", "@us>") for name, value in found.items() if value}


@pytest.mark.rule("TG-3", "TG-4", "TG-5", "TG-6", "SIP-29", "SIP-31", "law 5")
def test_each_gateway_has_its_own_headers_and_no_prefix_is_stacked(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "ip_call", alpha="reject_503")
    seen.all_ok()
    (first,), (second,) = seen.alpha.received("INVITE"), seen.beta.received("INVITE")
    assert first.uri.startswith(f"sip:9%23{NUMBER}@")
    assert first.get("from").startswith(f"<sip:77{CALLER}@")
    rpid = f"<sip:77{CALLER}@us>;party=calling;screen=yes;privacy=off"
    assert identities(first) == {"remote-party-id": rpid}
    assert second.uri.startswith(f"sip:{NUMBER}@")
    assert second.get("from").startswith(f"<sip:+{CALLER}@")
    assert identities(second) == {"p-asserted-identity": f"<sip:+{CALLER}@us>"}
    # Inside the call it goes on seeing the caller as it was shown.
    for method in ("ACK", "BYE"):
        assert [one.get("from") for one in seen.beta.received(method)] == [second.get("from")]
    assert stage.cdr(seen.call_ids[0])["gateway"] == "beta"


@pytest.mark.rule("SIP-32", "SIP-31", "TG-3", "TG-4")
def test_an_anonymous_caller_is_known_to_the_gateway_that_is_trusted_alone(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "private_call", alpha="reject_503")
    seen.all_ok()
    (first,), (second,) = seen.alpha.received("INVITE"), seen.beta.received("INVITE")
    for message in (first, second, *seen.beta.received("ACK"), *seen.beta.received("BYE")):
        assert message.get("from").startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=c')
    assert identities(first) == {}
    assert identities(second) == {"p-asserted-identity": f"<sip:+{CALLER}@us>", "privacy": "user;id"}
    assert len(seen.beta.received("BYE")) == 1
    cdr = stage.cdr(seen.call_ids[0])
    assert (cdr["caller_shown"], cdr["gateway"], cdr["code"]) == (CALLER, "beta", "answered")
