"""Settings of whoever runs the tests stay outside: variables go before what a test asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SIPSVC_")]:
            patch.delenv(name)
        yield
