"""The process that libFuzzer runs in: `python -m tests.fuzz.child [--plant] LIBFUZZER-ARGUMENTS`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["sipsvc.message", "sipsvc.engine", "sipsvc.proxy", "sipsvc.transaction",
                                         "sipsvc.headers", "sipsvc.dialog", "sipsvc.auth"]):  # fmt: skip
    from tests.fuzz import mutate, plant, target


def main(arguments: list[str]) -> None:
    if "--plant" in arguments:
        arguments.remove("--plant")
        plant.plant()
    atheris.Setup(
        arguments,
        target.run,
        custom_mutator=lambda data, most, seed: mutate.mutate(data, most, seed, atheris.Mutate),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
