"""The whole catalogue as a directory, read at once: what the feed's pieces must add up to."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc import directory as d
from sipsvc.directory.image import compile_image
from sipsvc.errors import ConfigError
from sipsvc.store import snapshot
from sipsvc.store.database import one_state


def load_directory(engine: Engine) -> d.Directory:
    """As it stood at one instant. Raises ConfigError when none is loaded."""
    builder = d.Builder()
    with one_state(engine) as connection, Session(connection) as session:
        version = snapshot.state(session).version
        builder.put("platform", snapshot.platform(session))
        for kind in snapshot.KINDS:
            for fields in snapshot.items(session, kind):
                builder.put(kind, fields)
                if kind in snapshot.ROWS:
                    image = d.Image(compile_image(snapshot.rows(connection, kind, fields["id"])))
                    builder.table(kind, fields["id"], image, {})
    try:
        return builder.commit(version)
    except d.DirectoryError as error:
        raise ConfigError([("catalogue", version, str(error))]) from None
