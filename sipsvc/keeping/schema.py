"""`sipsvc upgrade` and `sipsvc rollback`: the schema of the database to this version's, and back to an older one's."""

from __future__ import annotations

from sipsvc.errors import ConfigError
from sipsvc.keeping.restore import alone
from sipsvc.settings import Settings
from sipsvc.store.database import current_revision, downgrade, known_revision, migrate, newest_revision


def upgrade(settings: Settings) -> tuple[str, str]:
    """To the newest revision: what it was ("" for a new database) and is. Raises ConfigError, NotRestored."""
    settings.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(settings):
        before = current_revision(settings.data.url)
        migrate(settings.data.url)
    return before, newest_revision()


def rollback(settings: Settings, revision: str) -> tuple[str, str]:
    """To `revision`, an older one: what it was and is. What newer revisions added is gone with what stands in it.

    Raises ConfigError, NotRestored.
    """
    if not known_revision(revision):
        raise ConfigError([("REVISION", revision, f"is none of this version, whose newest is {newest_revision()}")])
    settings.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(settings):
        before = current_revision(settings.data.url)
        if before < revision:
            raise ConfigError([("REVISION", revision, f"is newer than the database is ({before or 'new'})")])
        downgrade(settings.data.url, revision)
    return before, revision
