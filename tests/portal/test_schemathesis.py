"""schemathesis against the running API, once per role: what the description promises is what happens.

`schemathesis.toml` beside this file says what is let pass, and why.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portal_api import roles
from tests.conftest import SUMMARY
from tests.portal.world import populate, running

CONFIG = Path(__file__).with_name("schemathesis.toml")
EVERYWHERE = "examples,fuzzing,stateful"
WITH_COVERAGE = ("platform_admin",)
BOUND_S = 280


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_meets_what_is_described(
    role: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(tmp_path) as world:
        populate(world)
        command = [
            str(Path(sys.executable).with_name("st")),
            *("--config-file", str(CONFIG), "run", f"http://127.0.0.1:{world.port}/openapi.json", "--no-color"),
            *("-H", f"Authorization: {world.of(role).headers['Authorization']}"),
            *("--phases", EVERYWHERE + (",coverage" if role in WITH_COVERAGE else "")),
        ]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=BOUND_S, check=False)
        log = f"{ran.stdout}\n{ran.stderr}"
        found = re.search(r"([0-9]+) generated, .*", ran.stdout)
        record_property(SUMMARY, f"schemathesis {role}: {found[0] if found else 'nothing was tried'}")
        assert ran.returncode == 0, log
        assert found is not None and int(found[1]) > 200, log
