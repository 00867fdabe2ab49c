"""The command line: `sipsvc serve | check-config | load | import | explain | deliver | out | feed | work | demo-…`.

The commands that ask a running server are in `console`, those that keep its state in `keeping`.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sipsvc import __version__, console
from sipsvc.errors import ConfigError, SipsvcError
from sipsvc.keeping import commands as keeping
from sipsvc.settings import load as load_settings

app = typer.Typer(
    name="sipsvc",
    help="SIP routing, authorization and rating for people who resell telephony.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[str | None, typer.Option("--config", help="TOML file; default: SIPSVC_CONFIG, else built-in values")]


@app.command()
def serve(
    config: Config = None,
    demo: Annotated[Path | None, typer.Option(help="bundle to load when the catalogue is still empty")] = None,
) -> None:
    """Serve SIP and the management API until Ctrl-C."""
    from sipsvc.serve import serve as run

    raise typer.Exit(run(load_settings(config), config, demo))


@app.command("check-config")
def check_config(
    config: Config = None,
    bundle: Annotated[Path | None, typer.Option(help="also check this bundle")] = None,
) -> None:
    """Check a configuration (and a bundle) without touching anything; exits 2 naming key, value and reason."""
    from sipsvc.store.bundle import load_bundle
    from sipsvc.transport.tls import Tls

    faults: list[tuple[str, object, str]] = []
    try:
        Tls(load_settings(config).sip.tls)
    except ConfigError as error:
        faults += error.faults
    if bundle is not None:
        try:
            load_bundle(bundle)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    print("configuration is good")


@app.command()
def load(file: Annotated[Path, typer.Argument(help="bundle (TOML)")], config: Config = None) -> None:
    """Replace the whole catalogue by a bundle; a running server takes it up at once."""
    from sipsvc.firstrun import load as store

    version, passwords = store(load_settings(config), file)
    for user, password in passwords.items():
        print(f"made for {user}: password {password} (shown this once)")
    print(f"catalogue version {version} stored")


@app.command()
def explain(
    customer: Annotated[str, typer.Argument(help="customer id")],
    dialled: Annotated[str, typer.Argument(help="number as it would be dialled")],
    caller: Annotated[str, typer.Option(help="number the caller shows, or a whole From")] = "",
    at: Annotated[
        str | None, typer.Option(help="by the prices of then, such as 2030-01-31T00:00:00Z; else now")
    ] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """How a call would be decided, and why; nothing is dialled."""
    from sqlalchemy.orm import Session

    from sipsvc.effects import Now
    from sipsvc.routing.explain import explain as ask
    from sipsvc.routing.explain import printed
    from sipsvc.routing.question import Question, number_of
    from sipsvc.store.database import one_state, open_database
    from sipsvc.store.snapshot import for_call

    settings = load_settings(config)
    moment = Now(time.monotonic_ns(), time.time_ns() // 1_000_000 if at is None else _utc_ms("--at", at))
    question = Question(customer, dialled, caller)
    engine = open_database(settings.data.url)
    with one_state(engine) as connection, Session(connection) as session:
        directory = for_call(session, customer, number_of(question))
    engine.dispose()
    answer = ask(directory, question, host=settings.sip.uri_host(), now=moment)
    print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() if json else "\n".join(printed(answer)))


@app.command()
def deliver(config: Config = None) -> None:
    """Deliver CDRs from the local log to the database (`serve` runs this by itself)."""
    from sipsvc.cdr.deliver import main as run
    from sipsvc.observe import configure

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    run(settings)


@app.command()
def out(config: Config = None) -> None:
    """Hand calls on to files, webhooks and a Redis Stream, and remove old ones (`serve` runs this where configured)."""
    from sipsvc.observe import configure
    from sipsvc.out.process import main as run

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    run(settings)


@app.command()
def feed(config: Config = None) -> None:
    """Send what changes in the catalogue to the SIP worker (`serve` runs this by itself)."""
    from sipsvc.feed.process import main as run
    from sipsvc.observe import configure

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    run(settings, config)


@app.command("compile-table", hidden=True)
def compile_table(kind: str, owner: str, config: Config = None) -> None:
    """Compile the rows of a gateway or price list into a file (`feed` runs this by itself)."""
    from sipsvc.feed.compiler import main as run
    from sipsvc.observe import configure

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    run(settings, kind, owner)


@app.command()
def work(config: Config = None) -> None:
    """Do the jobs the API asks for: validate, populate, apply, undo (`serve` runs this by itself)."""
    from sipsvc.imports.runner import main as run
    from sipsvc.observe import configure

    settings = load_settings(config)
    configure(settings.log.level, settings.log.format)
    run(settings)


@app.command("check-ledger")
def check_ledger(config: Config = None) -> None:
    """Whether postings, balances and calls add up, all of them counted; exits 1 and names what does not."""
    from sqlalchemy.orm import Session

    from sipsvc.store import audit
    from sipsvc.store.database import one_state, open_database

    engine = open_database(load_settings(config).data.url)
    with one_state(engine) as connection, Session(connection) as session:
        faults, postings, gone = audit.faults(session), audit.count(session), audit.gone(session)
    engine.dispose()
    removed = f", {gone} charges of calls that are kept no more" if gone else ""
    print("\n".join(faults or [f"the ledger adds up: {postings} postings{removed}"]))
    raise typer.Exit(1 if faults else 0)


@app.command("import")
def import_rows(
    target_id: Annotated[str, typer.Argument(help="id of a gateway or a price list")],
    file: Annotated[Path, typer.Argument(help="CSV file")],
    gateway: Annotated[bool, typer.Option("--gateway", help="the id is a gateway's: the file is its coverage")] = False,
    pricelist: Annotated[bool, typer.Option("--pricelist", help="the id is a price list's")] = False,
    mode: Annotated[str, typer.Option(help="`full`: what is not in the file ends; `partial`: it stays")] = "full",
    at: Annotated[str | None, typer.Option(help="when it is to begin, such as 2030-01-31T00:00:00Z; else now")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would change, and store nothing")] = False,
    accept_rejected: Annotated[bool, typer.Option("--accept-rejected", help="apply without the rejected rows")] = False,
    rejected: Annotated[Path | None, typer.Option(help="write the rejected rows here, to be corrected")] = None,
    config: Config = None,
) -> None:
    """Put a price file into force, after showing what it changes; a running server takes it up at once."""
    from rich.console import Console

    from sipsvc.imports.command import Asked, run

    if gateway and pricelist:
        raise ConfigError([("--gateway", True, "and --pricelist exclude each other")])
    kind = "gateway" if gateway else "pricelist" if pricelist else None
    asked = Asked(target_id, file, kind, mode, at, yes, dry_run, accept_rejected, rejected)
    raise typer.Exit(run(load_settings(config).data.url, asked, Console()))


@app.command("rotate-keys")
def rotate_keys(config: Config = None) -> None:
    """Seal new nonces and Record-Route tokens with a new key; a running server takes it within a minute."""
    import time

    from sipsvc import keyring

    folder = load_settings(config).data.dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = keyring.rotate(folder, time.time_ns() // 1_000_000)
    typer.echo(f"{len(kept)} keys in {folder / keyring.NAME}, the first is new")


@app.command("demo-gateway")
def demo_gateway(
    listen: Annotated[str, typer.Option(help="HOST:PORT")] = "127.0.0.1:5081",
    behaviour: Annotated[str, typer.Option(help="answer, fail, busy or silent")] = "answer",
    name: Annotated[str, typer.Option(help="shown in its output")] = "gateway",
) -> None:
    """A small answering gateway: a test aid, not a product."""
    from sipsvc.demo.gateway import run

    raise typer.Exit(run(listen, behaviour, name))


@app.command("demo-call")
def demo_call(
    to: Annotated[str, typer.Option(help="number to call")] = "",
    fail: Annotated[str, typer.Option(help="`first` or `all`: gateways that answer 503")] = "",
    talk: Annotated[float, typer.Option(help="seconds of conversation")] = 1.5,
    config: Config = None,
) -> None:
    """Place a real call through the running demo server and show its ladder, decision and price: a test aid."""
    from sipsvc.demo.call import run

    raise typer.Exit(run(load_settings(config).data.dir, to=to, fail=fail, talk=talk))


@app.command("demo-load")
def demo_load(
    rate: Annotated[int, typer.Option(help="calls a second")] = 100,
    calls: Annotated[int, typer.Option(help="calls in all")] = 2000,
    kill: Annotated[bool, typer.Option("--kill", help="kill -9 the server in the middle and start it again")] = False,
) -> None:
    """Load a server of its own with SIPp and compare answers with CDRs: a test aid."""
    from sipsvc.demo.load import run

    raise typer.Exit(run(rate, calls, kill=kill))


@app.command("demo-import")
def demo_import(
    rate: Annotated[int, typer.Option(help="calls a second")] = 100,
    prefixes: Annotated[int, typer.Option(help="rows of the import")] = 500_000,
    seconds: Annotated[int, typer.Option(help="how long calls are made")] = 60,
) -> None:
    """Import a big price list while SIPp calls, and see that no call fails and none waits: a test aid."""
    from sipsvc.demo.importing import run

    raise typer.Exit(run(rate, prefixes, seconds))


console.add(app)
keeping.add(app)


def _utc_ms(option: str, value: str) -> int:
    """An RFC 3339 instant in milliseconds. Raises ConfigError that names the option."""
    from sipsvc.store.types import to_ms

    reason = "must be an instant with its zone, such as 2030-01-31T00:00:00Z"
    try:
        found = to_ms(datetime.fromisoformat(value))
    except ValueError:
        raise ConfigError([(option, value, reason)]) from None
    if found < 0:
        raise ConfigError([(option, value, "is before 1970")])
    return found


def _version(value: bool) -> None:
    if value:
        print(f"sipsvc {__version__} (pure Python)")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    """SIP routing, authorization and rating for people who resell telephony."""


def main() -> None:
    """Errors made on purpose are told in a line each; the exit status of a bad configuration is 2."""
    try:
        app()
    except ConfigError as error:
        for where, value, reason in error.faults:
            print(f"{where} = {value!r}: {reason}", file=sys.stderr)
        sys.exit(2)
    except SipsvcError as error:
        print(f"sipsvc: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
