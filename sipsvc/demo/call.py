"""`sipsvc demo-call`: one real call through the running server, drawn as a ladder, with its priced record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipsvc.demo import ladder
from sipsvc.demo.agent import Endpoint, Log, Message, new_log
from sipsvc.demo.api import Api, Credentials, DemoError
from sipsvc.demo.caller import Caller, NoAnswer
from sipsvc.demo.gateway import DemoGateway
from sipsvc.routing.explain import trace_text

DEFAULT_TO = "+442079460018"
CALLER = "442079460012"
GATEWAYS = (("alpha", 5081), ("beta", 5082))
"""As config/demo/demo.toml names them."""
FAILURES = ("", "first", "all")


class Failing:
    """Says which gateways refuse: none, the first one asked, or all of them."""

    def __init__(self, which: str) -> None:
        if which not in FAILURES:
            raise DemoError(f"--fail {which!r}: must be first or all.")
        self.which, self.first = which, ""

    def __call__(self, gateway: str) -> str:
        self.first = self.first or gateway
        return "fail" if self.which == "all" or (self.which == "first" and gateway == self.first) else "answer"


async def start_gateways(behaviour: Callable[[str], str], log: Log) -> tuple[list[DemoGateway], list[str]]:
    """The gateways that could be started here, and the names of those whose port somebody else holds."""
    started, elsewhere = [], []
    for name, port in GATEWAYS:
        gateway = DemoGateway("127.0.0.1", port, behaviour, name=name, log=log)
        try:
            await gateway.start()
            started.append(gateway)
        except OSError:
            elsewhere.append(name)
    return started, elsewhere


async def place(credentials: Credentials, to: str, fail: str, talk: float) -> tuple[Message, str, Log]:
    """Make the call. Gives the final response, the Call-ID and all messages seen. Raises DemoError."""
    log, behaviour = new_log(), Failing(fail)
    caller = Caller(
        await Endpoint.bind("127.0.0.1", 0, "caller", log),
        credentials.server,
        credentials.username,
        credentials.password,
        CALLER,
    )
    gateways: list[DemoGateway] = []
    try:
        if not await caller.options():
            raise DemoError(
                f"nothing answers on {credentials.sip}: the server is not running. "
                "Start it with `make run` in another terminal and try again."
            )
        log.clear()
        gateways, elsewhere = await start_gateways(behaviour, log)
        if elsewhere and fail:
            raise DemoError(
                f"gateway {' and '.join(elsewhere)} runs elsewhere (sipsvc demo-gateway?), "
                "so it cannot be told to fail here. Stop it and try again."
            )
        for name in elsewhere:
            print(f"gateway {name} runs elsewhere: its messages are not shown")
        final, call_id = await caller.call(to, talk)
        # What the gateways still have to say: the ACK of a refusal, the end of a CANCEL.
        await asyncio.sleep(0.1)
        return final, call_id, log
    except (NoAnswer, ValueError) as error:
        raise DemoError(str(error)) from None
    finally:
        await caller.close()
        for gateway in gateways:
            await gateway.stop()


def describe(cdr: dict[str, Any]) -> list[str]:
    """The record as a person reads it: the decision step by step, the attempts, the prices."""
    lines = ["", "decision:"]
    lines += [f"  {text}" for text in trace_text(cdr["trace"])]
    for number, attempt in enumerate(cdr["attempts"], 1):
        left = f", left: {attempt['left']}" if attempt["left"] else ""
        lines.append(f"  attempt {number}: {attempt['name']} {attempt['request_uri']} -> {attempt['status']}{left}")
    lines += ["", "call record:"]
    shown = [
        "cdr_id",
        "call_id",
        "customer",
        "caller_shown",
        "dialled",
        "e164",
        "status",
        "reason",
        "code",
        "hangup_by",
        "gateway",
        "sent_to",
        "duration_ms",
    ]
    lines += [f"  {name:12} {cdr[name]}" for name in shown if cdr.get(name) not in (None, "")]
    for name, title in (("sell", "sell price"), ("buy", "buy price")):
        price = cdr.get(name)
        if price:
            lines.append(
                f"  {title:12} prefix {price['prefix']}, {price['rate']} {price['currency']}/min, "
                f"{price['initial']}/{price['increment']} s: billed {price['billed']} s, "
                f"{price['amount']} {price['currency']}"
            )
    if cdr.get("margin") is not None:
        lines.append(f"  {'margin':12} {cdr['margin']}")
    return lines


def verdict(final: Message, cdr: dict[str, Any], to: str, fail: str) -> tuple[bool, str]:
    """Whether what was asked happened, and a sentence that says what did."""
    tries = len(cdr["attempts"])
    if final.status < 300:
        priced = cdr["sell"] is not None
        wanted = 2 if fail == "first" else 1
        return (
            fail != "all" and tries == wanted and priced,
            f"answered by {cdr['gateway_name']} after {tries} attempt(s)",
        )
    warning = final.get("warning")
    said = f"{final.start.removeprefix('SIP/2.0 ')}, code {cdr['code']}" + (f", Warning: {warning}" if warning else "")
    if not tries:
        return bool(to) and not fail, f"refused before any gateway was asked: {said}"
    return fail == "all", f"failed after {tries} attempt(s): {said}"


def run(data: Path, *, to: str = "", fail: str = "", talk: float = 1.5) -> int:
    """The exit code: 0 when what was asked happened. `data` is the server's data folder, `talk` seconds."""
    try:
        credentials = Credentials.read(data)
        print(
            f"demo call (test aid): {credentials.username} calls {to or DEFAULT_TO} through {credentials.sip}"
            + (", every gateway failing" if fail == "all" else ", the first gateway failing" if fail else "")
        )
        final, call_id, log = asyncio.run(place(credentials, to or DEFAULT_TO, fail, talk))
        print("\n".join(["", *ladder.draw(log, "caller")]))
        if final.status in (401, 407):
            print(f"\nthe server does not take the password of {credentials.username}: {final.start}")
            return 1
        cdr = Api(credentials.api_url, credentials.api_token).ended_cdr(call_id)
        if cdr is None:
            print(f"\nno record of Call-ID {call_id} within 10 s")
            return 1
        print("\n".join(describe(cdr)))
    except DemoError as error:
        print(error)
        return 1
    good, sentence = verdict(final, cdr, to, fail)
    print(f"\n{'as asked' if good else 'NOT as asked'}: {sentence}")
    return 0 if good else 1
