# `make` alone lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help install install-dev install-ops install-browser install-clients up dev test test-fast fuzz check bench bench-peers simulate \
	faults tamper lock event-catalogue read-model-digests screenshots clean

VENV := .venv
BIN := $(VENV)/bin
UV ?= uv
# The newest Python that is there, runs and can install; of two, that of the system, which distributions build with more
# optimizations and keep secure. `make PYTHON=/path/to/python install` takes another.
CAN_INSTALL = import sys; from importlib.util import find_spec; \
	sys.exit(sys.version_info < (3, 11) or not (find_spec("ensurepip") or find_spec("pip")))
PYTHON ?= $(shell for version in 3.13 3.12 3.11 3; do for python in /usr/bin/python$$version python$$version; do \
	$$python -c '$(CAN_INSTALL)' 2>/dev/null && echo $$python && exit; done; done)
# Where Debian keeps pip apart from venv, the pip of the system fills the environment.
PIP = $$($(BIN)/python -m pip --version >/dev/null 2>&1 && echo $(BIN)/python -m pip || echo $(PYTHON) -m pip --python $(BIN)/python)
# On a terminal pip shows what it does at the moment; elsewhere each step says one line.
INSTALL = $(PIP) $$([ -t 2 ] || echo --quiet) --disable-pip-version-check --no-input install
COMPILE = $(UV) pip compile pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## prepare .venv with the `routines` command in it

install-dev: $(VENV)/installed-dev ## what the tests and the linters need, too

# Installs Debian's packages $(1) unless they are there. No service is started (RUNLEVEL=1).
define debian
	@missing=$$(for package in $(1); do \
		dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; done); \
		test -z "$$missing" || { apt-get -qq update && env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get -qq --yes --no-install-recommends install $$missing >/dev/null; } \
		|| { echo "not installed:" $$missing >&2; exit 1; }
endef

OPS := curl docker-compose faketime nginx openssl pgbouncer postgresql prometheus systemd
# Tests that need what is missing are skipped, with the reason.
install-ops: ## Debian's programs that operators use, for the tests of deploy/ (as root)
	$(call debian,$(OPS))

BROWSER := chromium-headless-shell fonts-dejavu-core
install-browser: ## Debian's Chromium without windows, for the tests of the board in a browser (as root)
	$(call debian,$(BROWSER))

CLIENTS := development/clients
install-clients: $(CLIENTS)/node_modules/.package-lock.json ## generators of clients, linters of descriptions and of pages, for their tests (needs Node.js)
$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	@npm ci --prefix $(CLIENTS) --ignore-scripts --silent
	@touch $@

up: install ## run the whole system until Ctrl-C (ARGS="--port 8001 --data-dir DIR")
	@exec $(BIN)/routines up $(ARGS)

dev: install-dev ## as `up`; a part starts again when files change that it works with
	@exec $(BIN)/python -m development.run_system $(ARGS)

# The tests start some hundred processes: without compiled modules each would compile all of ours again.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest

test: install-dev ## run the tests against a real Postgres (ARGS="-k cron")
	@$(PYTEST) -n 5 --dist worksteal --durations=20 --durations-min=1 $(ARGS)

test-fast: install-dev ## the rules and the use cases, in memory, in under half a minute (ARGS="-k cron")
	@$(PYTEST) -q -n 2 -m "not slow" tests/domain tests/application/use_cases tests/test_architecture.py $(ARGS)

fuzz: install-dev ## many more random requests and examples than the tests have (ARGS="SEED=7 EXAMPLES=1000")
	@env SEED=$$(date +%s) EXAMPLES=250 $(ARGS) $(PYTEST) -q -s tests/acceptance/test_schemathesis.py tests/web/jetty/test_schemathesis.py
	@env SEED=$$(date +%s) $(ARGS) $(PYTEST) -q -m "hypothesis or slow" tests

check: install-dev ## ruff, mypy and the test of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_architecture.py

bench: install-dev ## rates, lateness and costs, beside what Postgres does without us
	@env PYTHONPATH=. $(BIN)/python benchmarks/run.py $(ARGS)

bench-peers: $(VENV)/installed-peers ## the same for APScheduler and procrastinate, in one run (ARGS=--quick)
	@env PYTHONPATH=. $(BIN)/python benchmarks/run.py peers $(ARGS)

faults: install-dev ## cut, kill, freeze and crash everything, and count (ARGS="cut kill --short --seed 7")
	@$(BIN)/python -m verification.faults $(ARGS)

tamper: install-dev ## thousands of changes to logs by a superuser, each of which the verifier has to find (ARGS="--mutations 300 --seed 7")
	@$(BIN)/python -m verification.tampering $(ARGS)

simulate: install-dev ## years of schedules under faults on a virtual clock (ARGS="--seed 17", "--minutes 10", "--break guards")
	@$(BIN)/python -m verification.simulation.run $(ARGS)

event-catalogue: $(VENV)/installed ## write docs/events.md from the events and their stored examples
	@$(BIN)/python -m development.event_catalogue

lock: ## recompile requirements*.txt from pyproject.toml (needs uv)
	$(COMPILE) $(ARGS) -o requirements.txt
	$(COMPILE) $(ARGS) --extra dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) $(ARGS) --extra peers -c requirements-dev.txt -o requirements-peers.txt

screenshots: install-dev ## the pictures of the board in docs/images (needs install-browser)
	@$(BIN)/python -m development.screenshots

read-model-digests: install-dev ## write down what each read model's rows are made by, after a look at its version
	@$(BIN)/python -m tests.projections.read_model_digests

clean: ## remove .venv and every cache; data directories stay
	rm -rf $(VENV) $(CLIENTS)/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv, or make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or newer" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 \
		|| { $(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m venv --clear --without-pip $(VENV); } \
		|| { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/made requirements.txt pyproject.toml
	@echo "installing the packages of requirements.txt into $(VENV) (once)"
	@$(INSTALL) --require-hashes -r requirements.txt
	@echo "installing routines into $(VENV)"
	@$(INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	@echo "installing the test and lint tools into $(VENV) (once)"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/installed-peers: $(VENV)/installed-dev requirements-peers.txt
	@echo "installing the peers into $(VENV) (once)"
	@$(INSTALL) --require-hashes -r requirements-peers.txt
	@touch $@
