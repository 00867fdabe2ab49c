# Every target in a line: `make help`. Nothing here needs root, except `make deps` when a Debian package is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock

# make call TO=+979123456789, make call FAIL=first
TO ?=
FAIL ?=
TALK ?= 1.5
# make load RATE=100 CALLS=2000 KILL=1; make bench RATE=100 REPEAT=3 SECONDS=20
RATE ?= 100
CALLS ?= 2000
KILL ?=
CHAOS_RATE ?= 50
# make load-import PREFIXES=500000 RATE=100
PREFIXES ?= 500000
REPEAT ?= 3
BENCH_DIR ?= ../shared/bench
# make import-big PREFIXES=500000
PREFIXES ?= 500000
# make sim SEEDS=1000
SEEDS ?= 200
FIRST_SEED ?= 1

# make fuzz SECONDS=60, PLANT=1 make fuzz
PLANT ?=

# Debian packages of the programs that tests run: all of them, and those in tests/wire besides.
PROGRAMS := postgresql redis-server dnsmasq-base openssl
WIRE := $(PROGRAMS) sip-tester baresip-core kamailio kamailio-tls-modules sipsak

.DEFAULT_GOAL := help
.PHONY: help run call test check lint sim sim-mutants fuzz wire load chaos load-import bench import-big rules lock deps clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

run: $(STAMP) ## start the server with the demo partner: SIP on 127.0.0.1:5060, API on 127.0.0.1:8080; Ctrl-C ends it
	$(BIN)/sipsvc serve --config config/sipsvc.toml --demo config/demo/demo.toml

call: $(STAMP) ## one real call through `make run`, as a ladder with its priced record; TO=+979... FAIL=first TALK=1.5
	@$(BIN)/sipsvc demo-call --config config/sipsvc.toml --talk $(TALK) \
		$(if $(TO),--to '$(TO)') $(if $(FAIL),--fail '$(FAIL)')

test: $(STAMP) ## everything a release needs: ruff, mypy, unit, sim and wire tests, with their counts; none skipped
	@scripts/deps $(PYTHON) $(WIRE)
	@$(BIN)/python scripts/run_tests.py --wire -- $(BIN)

check: $(STAMP) ## ruff, mypy, unit and sim tests; of other programs PostgreSQL, Redis, dnsmasq and openssl, run by the tests
	@scripts/deps $(PYTHON) $(PROGRAMS)
	@$(BIN)/python scripts/run_tests.py -- $(BIN)

lint: $(STAMP) ## ruff and mypy --strict only
	$(BIN)/ruff check .
	$(BIN)/mypy

wire: $(STAMP) ## the tests with real SIPp, baresip, Kamailio and sipsak only
	@scripts/deps $(PYTHON) $(WIRE)
	$(BIN)/pytest tests/wire

sim: $(STAMP) ## random calls with loss, doubling and reordering on a virtual clock, against invariants; SEEDS=200 FIRST_SEED=1
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --first-seed $(FIRST_SEED)

sim-mutants: $(STAMP) ## plants bugs in the engine and shows that the simulation catches each
	$(BIN)/python -m tests.sim.mutants

fuzz: $(STAMP) ## random and mutated messages, guided by the code they reach; SECONDS=60, PLANT=1 plants a bug to be found
	@$(BIN)/python -m tests.fuzz --seconds '$(or $(SECONDS),60)' $(if $(PLANT),--plant)

load: $(STAMP) ## many calls with SIPp against a server of its own; RATE=100 CALLS=2000, KILL=1 kills it half way
	@scripts/deps $(PYTHON) sip-tester
	@$(BIN)/sipsvc demo-load --rate $(RATE) --calls $(CALLS) $(if $(KILL),--kill)

chaos: $(STAMP) ## SIPp calls while the server is killed, its database stopped and the log's disk full; SECONDS=300 CHAOS_RATE=50
	@scripts/deps $(PYTHON) postgresql sip-tester
	@$(BIN)/python -m tests.chaos --seconds '$(or $(SECONDS),300)' --rate $(CHAOS_RATE)

load-import: $(STAMP) ## imports a big price list while SIPp calls; RATE=100 PREFIXES=500000
	@scripts/deps $(PYTHON) sip-tester
	@$(BIN)/sipsvc demo-import --rate $(RATE) --prefixes $(PREFIXES)

bench: $(STAMP) ## CPU per call beside Kamailio; BENCH_DIR is the harness's folder, RATE=100 REPEAT=3 SECONDS=20
	@$(BIN)/python -m tests.bench.run --bench '$(BENCH_DIR)' --rate $(RATE) --repeat $(REPEAT) \
		--seconds '$(or $(SECONDS),20)'

import-big: $(STAMP) ## `sipsvc import` of 500,000 prefixes twice on both databases, with time and peak memory; PREFIXES=500000
	@$(BIN)/python -m tests.imports.big --prefixes $(PREFIXES)

rules: $(STAMP) ## every rule with the tests that show it; fails on a gap
	@$(BIN)/python -m tests.house.rules

lock: ## renew requirements.lock from pyproject.toml, with hashes
	scripts/lock $(PYTHON)

deps: ## install the Debian packages the tests need, or say which command does
	@scripts/deps $(PYTHON) python3-venv $(WIRE)

clean: ## remove what the other targets made; the server's data stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock
	@scripts/deps $(PYTHON) python3-venv
	@echo "making $(VENV) from requirements.lock"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
