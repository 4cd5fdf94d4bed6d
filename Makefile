PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= configs/paper.toml
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

setup: $(BIN)/.installed ## Make .venv with the locked dependencies and the project in it

$(BIN)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@

PEERS := $(patsubst tests/conformance/peers/%.txt,.venvs/%/.installed,$(wildcard tests/conformance/peers/*.txt))

setup-peers: $(PEERS) ## Install strangers' clients, each in an environment of its own, to test the simulators with

.venvs/%/.installed: tests/conformance/peers/%.txt
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install --disable-pip-version-check -q -r $<
	@touch $@

build: setup ## Compile all kernels into the cache
	$(BIN)/hftctl build --workers 2

run-paper: setup ## Trade on paper against the bundled simulators until Ctrl-C (FOR=20 stops after 20 s)
	$(BIN)/hftctl build --workers 2 --config $(CONFIG)
	$(BIN)/hftctl start --config $(CONFIG) $(if $(FOR),--for $(FOR))

# Two parts at a time, each one's output in one piece: what needs no real time first, then what starts real processes, which mostly wait.
# Every part runs, also when one before it failed.
IN_PAIRS := $(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync=target

test: setup ## Run the whole test suite with its samples of each campaign
	@failed=0; \
	$(BIN)/coverage erase; \
	$(IN_PAIRS) build $(UNIT_PARTS) || failed=1; \
	$(BIN)/coverage combine -q && $(BIN)/coverage report --fail-under=90 || failed=1; \
	$(IN_PAIRS) $(PROCESS_PARTS) || failed=1; \
	exit $$failed

NOJIT_PARTS := plain-of-the-rest plain-of-venues
UNIT_PARTS := $(NOJIT_PARTS) unit-of-the-rest unit-of-venues
VENUES := tests/unit/hft/venues
AS_PLAIN_PYTHON := NUMBA_DISABLE_JIT=1 $(BIN)/coverage run --parallel-mode -m pytest

plain-of-venues: setup
	$(AS_PLAIN_PYTHON) $(VENUES)

plain-of-the-rest: setup
	$(AS_PLAIN_PYTHON) tests/unit --ignore=$(VENUES)

unit-of-venues: build
	$(BIN)/pytest $(VENUES)

unit-of-the-rest: build
	$(BIN)/pytest tests/unit --ignore=$(VENUES)

ENGINES := tests/integration tests/conformance
PROCESS_PARTS := tests-of-engines tests-of-the-rest

tests-of-engines: build
	$(BIN)/pytest $(ENGINES)

tests-of-the-rest: build
	$(BIN)/pytest --ignore=tests/unit $(addprefix --ignore=,$(ENGINES))

test-unit: build ## Run the unit tests, compiled
	$(BIN)/pytest tests/unit

test-nojit: setup ## Run the unit tests as plain Python, with coverage
	$(BIN)/coverage erase
	$(IN_PAIRS) $(NOJIT_PARTS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=90

test-integration: build ## Run the tests that start real processes
	$(BIN)/pytest tests/integration tests/conformance tests/chaos

test-load: build ## Run the full campaigns: fuzz, rings, journals, ten minutes of faults at each simulator
	$(BIN)/pytest -m load tests

bench: build ## Run every benchmark against its reference
	$(BIN)/hftctl bench all

check: setup ## Check formatting, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup ## Write the generated pages of docs/
	$(BIN)/python -m processes.docs

clean: ## Remove the environment, caches and built files
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup setup-peers build run-paper test $(UNIT_PARTS) test-unit test-nojit test-integration test-load bench check docs clean
