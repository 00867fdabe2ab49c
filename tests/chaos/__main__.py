"""`python -m tests.chaos --seconds 300 --rate 50`."""

from __future__ import annotations

import argparse

from tests.chaos.disk import apart
from tests.chaos.run import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="calls while the server, its database and its disk fail")
    parser.add_argument("--seconds", type=int, default=300, help="how long calls are begun, 30 to 3600")
    parser.add_argument("--rate", type=int, default=50, help="calls a second, 1 to 500")
    asked = parser.parse_args()
    if not (30 <= asked.seconds <= 3600 and 1 <= asked.rate <= 500):
        parser.error("--seconds is 30 to 3600, --rate 1 to 500")
    apart()
    raise SystemExit(run(asked.seconds, asked.rate))
