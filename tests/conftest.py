"""Settings every test runs under."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: a busy machine is not a fault of the code. In CI the examples are the same in every run.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
