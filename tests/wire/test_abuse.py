"""A good customer's calls while strangers flood and guess, from other addresses, with real tools (SIP-24)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Counters, Sipp
from tests.wire.conftest import BY_DIGEST, CALLER, NUMBER, PASSWORD, Stage, serving, write_bundle
from tests.wire.strangers import Flood, ask, run_tool

RATE = 20
FLOOD, FLOOD_S = 200, 60
STRANGERS = [f"127.0.0.{number}" for number in range(50, 90)]
WAR, CRACK, RIGHT_AT_ONCE, ASKS = "127.0.0.91", "127.0.0.92", "127.0.0.93", "127.0.0.94"
METHODS = ("INVITE", "REGISTER", "OPTIONS")
USERS = ("phone", "nobody", "office", "1000", "admin")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A server that waits for its gateways as long as by default: a busy machine is not what is looked at here."""
    alpha, beta = free_port(), free_port()
    bundle = write_bundle(tmp_path / "bundle", alpha, beta)
    bundle.write_text(bundle.read_text().replace("provisional_timeout_ms = 800\nring_timeout_s = 3\n", ""))
    server = Server(tmp_path / "serve", bundle)
    with serving(server):
        yield Stage(server, alpha, beta)


def good_calls(stage: Stage, folder: Path, seconds: float, meanwhile: Callable[[], None]) -> Counters:
    """What became of the calls of the customer known by digest, `meanwhile` done."""
    count = round(RATE * seconds)
    with ExitStack() as ended:
        for label, port in (("alpha", stage.alpha), ("beta", stage.beta)):
            ended.callback(Sipp("uas/answer.xml", folder, port, label=label).stop)
        client = Sipp(
            "uac/digest_call.xml", folder, free_port(), "-s", NUMBER, "-key", "caller", CALLER, "-m", str(count),
            "-r", str(RATE), "-d", "1000", "-au", "phone", "-ap", PASSWORD, "-recv_timeout", "15000",
            target=stage.server.target, address=BY_DIGEST,
        )  # fmt: skip
        ended.callback(client.stop)
        meanwhile()
        client.wait(seconds + 40)
    counted = client.counters()
    assert counted.created == count, f"{counted}\n{client.errors()}"
    return counted


def goodput(good: Counters) -> str:
    share = f"goodput {good.ok} of {good.created} calls, {100 * good.ok / good.created:.1f} %"
    return f"{share} ({', '.join(good.reasons)})" if good.reasons else share


@pytest.mark.rule("SIP-24", "SIP-22")
@pytest.mark.timeout(600)
def test_a_good_customer_calls_on_while_strangers_flood_and_guess(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flood = Flood(stage.server.sip, STRANGERS, USERS, FLOOD, FLOOD_S)

    def flooded() -> None:
        with flood:
            pass

    good = good_calls(stage, tmp_path / "flood", FLOOD_S, flooded)
    said = [
        f"flood: {flood.sent} requests of {len(STRANGERS)} addresses in {flood.took:.0f} s, heard {dict(flood.heard)}; "
        f"{goodput(good)}"
    ]
    assert flood.sent == FLOOD * FLOOD_S
    # Nobody was let in, and nobody told anything else than everybody is.
    assert set(flood.heard) <= {"407", "405", "481", "200", "400"}
    assert good.ok >= 0.95 * good.created, said

    host, port = stage.server.sip
    users, passwords = tmp_path / "users", tmp_path / "passwords"
    users.write_text(
        "\n".join([*(f"{number}" for number in range(100, 140)), "phone", "office", "phone-digest"]) + "\n"
    )
    guesses = [f"wrong{number}" for number in range(60)]
    passwords.write_text("\n".join([*guesses[:30], PASSWORD, *guesses[30:]]) + "\n")
    first = tmp_path / "first"
    first.write_text(PASSWORD + "\n")
    heard: dict[str, str] = {}

    def guessed() -> None:
        tools, at = tmp_path / "tools", ("--maximumtime", "3", "-p", str(port), host)
        for method in METHODS:
            heard[f"svwar {method}"] = run_tool("svwar", WAR, tools, "--force", "-m", method, "-d", str(users), *at)
        crack = ("-m", "INVITE", "-u", "phone", "-e", NUMBER, "--requesturi", f"sip:{NUMBER}@{host}:{port}", *at)
        heard["svcrack"] = run_tool("svcrack", CRACK, tools, "-d", str(passwords), *crack)
        heard["svcrack told it"] = run_tool("svcrack", RIGHT_AT_ONCE, tools, "-d", str(first), *crack)

    good = good_calls(stage, tmp_path / "guess", 20, guessed)
    said.append(f"svwar and svcrack: {goodput(good)}")
    with capsys.disabled():
        print("\n" + "\n".join(said))
    assert good.ok == good.created, said
    for tool in (*(f"svwar {method}" for method in METHODS), "svcrack"):
        assert "found nothing" in heard[tool], heard[tool]
    # The tool works, and whoever knows the password is heard from an address that never called, after all of this.
    assert PASSWORD in heard["svcrack told it"], heard["svcrack told it"]

    answers = ask(ASKS, stage.server.sip, [("phone", "wrong"), ("nobody", "wrong"), ("", "")], "same")
    assert {one.status for one in answers} == {407}
    assert len({one.shorn for one in answers}) == 1
    assert len({one.data for one in answers}) == len(answers), "each has a nonce of its own"
