"""The sans-IO heart: datagrams and time in, effects out (law 1)."""

from sipsvc.engine.engine import Engine

__all__ = ["Engine"]
