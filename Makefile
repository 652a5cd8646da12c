# The one door. `make` lists what there is; CONTRIBUTING.md says when to use what.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements.lock
READY := $(VENV)/.installed

# Every attempt, daemon and command is a process that imports: without bytecode each would compile it all again.
unexport PYTHONDONTWRITEBYTECODE

# Each of these sees every process of the machine, or harms whatever it finds: it is theirs, one after the other.
ALONE := tests/chaos tests/integration/test_child_contained.py

# The others wait for servers, sessions and timeouts most of the time: so there is one more at once than cores.
AT_ONCE ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

# What `make check` ran a moment ago on the same tree need not be run again: make test CHECKED=yes
CHECKED ?=

.DEFAULT_GOAL := help
.PHONY: help env services demo check format test acceptance chaos bench load docs lock clean

SEED ?= 1
MINUTES ?= 10

help: ## This list
	@echo "Taskerman: make <target>"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

env: $(READY) ## The virtual environment .venv, from the lock file; instant when nothing changed

# uv installs in seconds what takes pip most of a minute; it is taken from the same lock, under its own hash. Where it
# has no build for this machine, or cannot reach what pip is configured for, pip does it alone. `install` and not
# `sync`: what a developer added for a day stays.
$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Taskerman needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@echo "installing from $(LOCK)"
	@export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	if sed -n '/^uv==/,/[^\\]$$/p' $(LOCK) > $(VENV)/uv.lock && \
		$(BIN)/pip install --quiet --require-hashes --only-binary uv -r $(VENV)/uv.lock && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK); then :; \
	else echo "uv cannot do it here; pip takes a minute or two"; \
		sed '/^uv==/,/[^\\]$$/d' $(LOCK) > $(VENV)/pip.lock && \
		$(BIN)/pip install --quiet --require-hashes -r $(VENV)/pip.lock; fi
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

services: ## ZooKeeper, Redis, PostgreSQL, etcd and MariaDB for `make test` (Debian and root: installs them; elsewhere: says what to install)
	@sh tests/install-services

demo: env ## A rolling restart on this machine, and one that stops by itself; needs no service
	@$(BIN)/taskerman demo

check: env ## Linters, types, import contracts, and every test that needs nothing but Python (about a minute)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pytest -q -n auto -m "not real and not slow"

format: env ## Let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: env services ## Everything: also real ZooKeeper, Redis, PostgreSQL, etcd and MariaDB, processes and faults
	$(BIN)/pytest -q -n $(AT_ONCE) --dist loadfile --durations=25 $(if $(CHECKED),-m "real or slow") $(ALONE:%=--ignore=%)
	$(BIN)/pytest --durations=15 $(ALONE)

acceptance: env services ## Only the shipped commands against real clusters, with faults
	$(BIN)/pytest tests/acceptance

chaos: env services ## Faults at random against everything real, and a judge: make chaos SEED=7 MINUTES=10
	$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES)

bench: env services ## Measure what the README promises about speed
	$(BIN)/python benchmarks/rolling.py

docs: env ## Make anew what is made of declarations: metrics.md, settings.md, runners, the schema of schedules, states of stores
	$(BIN)/python -m taskerman.telemetry.reference > docs/reference/metrics.md.new
	mv docs/reference/metrics.md.new docs/reference/metrics.md
	$(BIN)/python -m taskerman.cli.reference > docs/reference/settings.md.new
	mv docs/reference/settings.md.new docs/reference/settings.md
	$(BIN)/python -m taskerman.cli.runner_pages docs/runners
	$(BIN)/taskerman schema schedule > configs/schedule.schema.json.new
	mv configs/schedule.schema.json.new configs/schedule.schema.json
	$(BIN)/python -m tests.recorded docs/reference

load: env services .ministack ## Measure what many nodes cost: a line of 1,000, a plan of 10,000 nodes, 10,000 schedules, an agent at rest
	$(BIN)/python benchmarks/line.py
	$(BIN)/python benchmarks/plan.py --aws-server .ministack/bin/ministack
	$(BIN)/python benchmarks/schedules.py --aws-server .ministack/bin/ministack
	$(BIN)/python benchmarks/rest.py

# A local AWS that is fast enough for ten thousand queues. It pins another botocore, so it lives by itself.
.ministack:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check ministack==1.5.33 || { rm -rf $@; exit 1; }

lock: env ## Make the lock file anew from pyproject.toml: names, versions and hashes, and no address
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --python-version 3.11 --extra dev \
		--output-file $(LOCK) pyproject.toml
	@! grep -nE '^[^#]*(://|@ |file:|--(index|extra|find|trusted))' $(LOCK) || \
		{ echo "$(LOCK) names an address; it must be good on every machine"; exit 1; }

clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) .ministack .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
