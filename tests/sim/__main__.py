"""`python -m tests.sim --seeds N --first-seed K [--mutant NAME]`."""

from tests.sim.run import app

app()
