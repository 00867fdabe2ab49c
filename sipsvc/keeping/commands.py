"""The commands: `sipsvc backup | restore | upgrade | rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sipsvc.settings import load as load_settings

Config = Annotated[str | None, typer.Option("--config", help="TOML file; default: SIPSVC_CONFIG, else built-in values")]


def add(app: typer.Typer) -> None:
    """Put the commands into `app`."""
    for command in (backup, restore, upgrade, rollback):
        app.command()(command)


def backup(
    where: Annotated[Path, typer.Argument(help="a new file, or a folder that gets one named by the instant")],
    config: Config = None,
) -> None:
    """Database, log of calls and keys in one file, while the server runs. The file holds secrets: keep it so."""
    from sipsvc.keeping.backup import backup as make

    path, manifest = make(load_settings(config), where)
    print(f"{path}: {len(manifest.members)} members, schema {manifest.schema}, {path.stat().st_size:,} bytes")


def restore(
    file: Annotated[Path, typer.Argument(help="what `sipsvc backup` made")],
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    config: Config = None,
) -> None:
    """Put a backup back. No server may run on the data folder, nor on the database."""
    from sipsvc.keeping.restore import restore as put_back

    manifest = put_back(load_settings(config), file, force=force)
    print(f"restored what sipsvc {manifest.version} had: {len(manifest.members)} members, schema {manifest.schema}")


def upgrade(config: Config = None) -> None:
    """Bring the database to this version's schema (`serve` does it by itself). No server may run on it."""
    from sipsvc.keeping.schema import upgrade as bring

    before, after = bring(load_settings(config))
    print(f"the schema is at revision {after}" + (f", it was at {before or 'none'}" if before != after else " already"))


def rollback(
    revision: Annotated[str, typer.Argument(help="revision of the older version, such as 0011")],
    config: Config = None,
) -> None:
    """Take the database back to an older version's schema, before that version is installed again.

    What the newer one added is gone with what stands in it: make a backup first. No server may run on the database.
    """
    from sipsvc.keeping.schema import rollback as take

    before, after = take(load_settings(config), revision)
    print(f"the schema is at revision {after}, it was at {before}")
