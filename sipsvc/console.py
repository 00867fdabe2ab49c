"""`sipsvc status | calls | trace | hangup | block | drain | cdr`: a running server asked and told by its owner
(SIP-38)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer

from sipsvc.settings import load as load_settings

Config = Annotated[str | None, typer.Option("--config", help="TOML file; default: SIPSVC_CONFIG, else built-in values")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
CdrId = Annotated[str, typer.Argument(help="cdr_id of a live call, as `sipsvc calls` shows it")]


def add(app: typer.Typer) -> None:
    """Put the commands into `app`."""
    for command in (status, calls, trace, hangup, block, drain):
        app.command()(command)
    records = typer.Typer(no_args_is_help=True, help="Calls that the database refuses: shown, and delivered again.")
    records.command()(rejected)
    records.command()(retry)
    app.add_typer(records, name="cdr")


def status(config: Config = None, json: Json = False) -> None:
    """How the running server is: its calls, its catalogue, its log, its gateways, and what it turned away."""
    (told,) = _ask(config, "status")
    _print(told, json, _status)


def calls(
    customer: Annotated[str, typer.Option(help="only this customer's")] = "", config: Config = None, json: Json = False
) -> None:
    """The live calls, the oldest first, and what each would cost if it ended now."""
    there = [call for page in _ask(config, "calls", customer=customer) for call in page]
    _print(there, json, _calls)


def trace(
    call: Annotated[str, typer.Argument(help="Call-ID or cdr_id of a call that is live or ended lately")],
    config: Config = None,
    json: Json = False,
) -> None:
    """The messages of a call and why it went where it went. What is older is in the record: `GET /cdrs/{id}`."""
    _print(list(_ask(config, "trace", call=call)), json, _traces)


def hangup(cdr_id: CdrId, config: Config = None, json: Json = False) -> None:
    """End a live call: BYE to both sides, or what takes it back where nobody has answered. Its code is `admin`."""
    (told,) = _ask(config, "hangup", call=cdr_id)
    _print(told, json, lambda told: [f"{told['cdr_id']} is being ended"])


def block(
    prefix: Annotated[str, typer.Argument(help="digits; numbers that begin so are refused")],
    reason: Annotated[str, typer.Option(help="shown in the decision")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Block a prefix for everybody, with history, as the API does it; a running server takes it up within a second."""
    from sipsvc.store.blocks import add as store
    from sipsvc.store.database import migrate

    settings = load_settings(config)
    settings.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate(settings.data.url)
    told = store(settings.data.url, prefix, reason)
    _print(told, json, _blocked)


def _blocked(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['prefix']} is blocked: {told['reason']}"]
    if told["open_still"]:
        lines.append(f"longer entries still let calls through: {', '.join(told['open_still'])}")
    return lines


def drain(
    undo: Annotated[bool, typer.Option("--undo", help="take new calls again")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Take no new calls (503); those there are go on. Ctrl-C of the server does the same and then ends it."""
    (told,) = _ask(config, "undrain" if undo else "drain")
    _print(told, json, _door)


def rejected(config: Config = None, json: Json = False) -> None:
    """The calls set aside because the database refuses them, and why."""
    from sipsvc.cdr.aside import listed

    _print(list(listed(load_settings(config).data.dir / "cdr")), json, _rejected)


def retry(config: Config = None, json: Json = False) -> None:
    """Deliver again what is set aside, when its cause is mended; what is refused again stays set aside."""
    from sipsvc.cdr.again import retry as again
    from sipsvc.observe import configure

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    _print(again(settings), json, _retried)


def _rejected(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return ["no calls are set aside"]
    return [f"{_clock(one['at'])}  {_shown(one['cdr_id'])}  {_shown(one['reason'])}" for one in found]


def _retried(told: dict[str, Any]) -> list[str]:
    if not told["done"]:
        return [f"{told['tried']} calls wait to be tried again: it is done as soon as the database takes calls"]
    return [f"{told['tried']} calls tried again; {told['rejected']} are set aside now"]


def _ask(config: str | None, do: str, **asked: Any) -> Iterable[Any]:
    """Raises ControlError."""
    from sipsvc.control import ask

    return ask(load_settings(config).data.dir, do, **asked)


def _print(told: Any, json: bool, lines: Any) -> None:
    print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() if json else "\n".join(lines(told)))


def _status(told: dict[str, Any]) -> list[str]:
    directory, log = told["directory"], told["log"]
    lines = [
        f"sipsvc {told['version']}, up {_span(told['uptime_s'])}, "
        + ("takes calls" if told["ready"] else f"takes NO calls: {'; '.join(told['unready'])}"),
        f"calls      {told['live_calls']} live, {told['calls_in_setup']} of them in set-up; "
        f"{sum(told['calls'].values())} ended since the start",
        f"catalogue  version {directory['version']}, in force for {_span(directory['age_s'])}"
        + ("" if directory["feed"] else "; NO FEED: changes do not reach the server"),
        f"log        {log['undelivered_bytes']:,} bytes not yet in the database, {log['unwritten_records']} records "
        f"not yet in the log" + (f"; FULL ({log['why']}): no call is admitted" if log["full"] else ""),
        f"           {log['bytes']:,} of {log['most_bytes']:,} bytes at most; {log['free_bytes']:,} free on the disk",
        f"messages   {told['transactions']} transactions, {told['retransmitted']} sent again, "
        f"{told['connections']} connections, loop late by {told['loop_late_s'] * 1000:.0f} ms at worst lately",
    ]
    if log["rejected_calls"]:
        lines.append(f"set aside  {log['rejected_calls']} calls that the database refuses: sipsvc cdr rejected")
    if log["unrecorded_calls"]:
        lines.append(f"unrecorded {log['unrecorded_calls']} calls refused while the log was full")
    for name, one in sorted(told["outputs"].items()):
        lines.append(f"output     {name}: {one['waiting']} calls wait; {one['failing'] or 'works'}")
    for name, one in sorted(told["gateways"].items()):
        registration = f", registration {one['registration']}" if one["registration"] else ""
        lines.append(f"gateway    {name}: {one['state']} {one['reason']}".rstrip() + registration)
    for title, counts in (("ended as", told["calls"]), ("turned away", told["turned_away"])):
        if counts:
            lines.append(f"{title}:")
            lines += [f"  {count:>9}  {code}" for code, count in sorted(counts.items(), key=lambda one: -one[1])]
    return lines


def _calls(there: list[dict[str, Any]]) -> list[str]:
    if not there:
        return ["no live calls"]
    rows = [("CDR_ID", "CUSTOMER", "NUMBER", "GATEWAY", "PHASE", "SINCE", "COST", "CALL-ID")]
    for call in there:
        cost = f"{call['cost']} {call['currency']}" if call["cost"] is not None else ""
        since = _clock(call["since"])
        rows.append((call["cdr_id"], call["customer"], call["number"], call["gateway"], call["phase"], since, cost,
                     call["call_id"]))  # fmt: skip
    widths = [max(len(_shown(row[column])) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(_shown(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _traces(found: list[dict[str, Any]]) -> list[str]:
    return [line for call in found for line in _trace(call)]


def _trace(call: dict[str, Any]) -> list[str]:
    ended = f": {call['status']} {call['code']}" if call["state"] == "ended" else ""
    lines = [
        f"call {_shown(call['call_id'])}",
        f"cdr  {call['cdr_id']}  {call['customer']} to {_shown(call['number'])}  {call['state']}{ended}",
    ]
    for row in call["trace"]:
        lines.append("  " + "  ".join(_shown(str(cell)) for cell in row))
    lines += ladder(call["ladder"], call["missing"])
    return lines


def ladder(rungs: list[dict[str, Any]], missing: int) -> list[str]:
    """A line for each message: milliseconds since the first, from (<-) or to (->) whom, what it was."""
    if not rungs:
        return ["  no messages: the server was started again since, or the call is older"]
    first = rungs[0]["at"]
    width = max(len(rung["peer"]) for rung in rungs)
    lines = []
    for rung in rungs:
        method = f" ({rung['method']})" if rung["what"][:1].isdigit() else ""
        arrow = "->" if rung["sent"] else "<-"
        what = f"{_shown(rung['what'])}{method}, {rung['size']} B"
        lines.append(f"{rung['at'] - first:>8}  {arrow} {rung['peer']:<{width}}  {what}")
    if missing:
        lines.append(f"  {missing} messages in the middle were not kept")
    return [f"  ladder, in ms since {_clock(first)}", *lines]


def _door(told: dict[str, Any]) -> list[str]:
    if not told["draining"]:
        return ["new calls are taken"]
    return [f"no new calls are taken; {told['live_calls']} live, {told['calls_in_setup']} of them in set-up"]


def _clock(utc_ms: int) -> str:
    return datetime.fromtimestamp(utc_ms / 1000, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")


def _span(seconds: float) -> str:
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{seconds:.1f} s"


def _shown(text: str) -> str:
    """What a peer wrote shall not move the cursor of whoever reads it."""
    return "".join(one if one.isprintable() else "?" for one in text)
