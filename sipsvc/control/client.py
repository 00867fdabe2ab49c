"""The asking end, for the command line and the API process; it waits, so it is for threads and commands only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sipsvc.control.place import address
from sipsvc.errors import SipsvcError

PATIENCE_S = 10.0


class ControlError(SipsvcError):
    """The server refused, or did not answer; the text says why."""


class Unanswered(ControlError):
    """Nobody answered, or not to the end."""


class NoServer(Unanswered):
    """None runs on this folder, or it is not ours to ask."""


def ask(folder: Path, do: str, *, patience_s: float = PATIENCE_S, **asked: Any) -> Iterator[Any]:
    """The pieces of the answer as they come. Each step waits `patience_s` at most.

    Raises NoServer, Unanswered, and ControlError where the server refuses.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(patience_s)
        try:
            with address(folder) as name:
                link.connect(name)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NoServer(f"no sipsvc serve runs on the data folder {folder}") from None
        except PermissionError:
            raise NoServer(f"the control socket in {folder} is its owner's only") from None
        except OSError as error:
            raise NoServer(f"the control socket in {folder} cannot be reached: {error.strerror or error}") from None
        try:
            link.sendall(orjson.dumps({**asked, "do": do}) + b"\n")
            with link.makefile("rb") as lines:
                for line in lines:
                    said = orjson.loads(line)
                    if "data" in said:
                        yield said["data"]
                    elif "error" in said:
                        raise ControlError(said["error"])
                    else:
                        return
        except TimeoutError:
            raise Unanswered(f"the server did not answer within {patience_s:g} s") from None
        except (OSError, ValueError) as error:
            raise Unanswered(f"the server hung up: {error}") from None
        raise Unanswered("the server hung up")
