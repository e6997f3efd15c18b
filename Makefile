# Every target is one line of `make help`; the commands work without make too.

PYTHON ?= python3
ARGS ?=
# The image of the integration-* targets; empty is vclaw's default image.
INTEGRATION_IMAGE_REF ?=

VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest
export PYTHON INTEGRATION_IMAGE_REF

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup lock run check lint types unit test test-full chaos \
	bench bench-baseline bench-compare build clean \
	integration-001 integration-001-run integration-002

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## install system packages, make .venv, install vclaw into it

# The stamp is younger than what decides about the packages: a second setup does nothing.
.venv/.ready: pyproject.toml requirements.lock tools/setup
	@tools/setup

lock: ## pin the Python packages anew after a change of pyproject.toml; ARGS=--upgrade: the newest
	tools/lock $(ARGS)

run: setup ## boot a claw for this folder, or as ARGS='ubuntu:24.04 --workspace ..' says
	$(VENV)/vclaw run $(ARGS)

check: lint types unit ## lint, types and unit tests: under a minute

lint: setup ## ruff: rules and format
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

types: setup ## mypy, strict
	$(VENV)/mypy

unit: setup ## tests of single rooms, the fast ones
	$(PYTEST) -q -n auto -m 'not full' tests/unit

test: setup lint types ## everything but what is marked `full`; boots two VMs
	$(PYTEST) -q -n auto -m 'not vm and not full'
	$(PYTEST) -v --durations=20 -m 'vm and not full'

test-full: setup lint types ## everything; may take an hour without KVM
	$(PYTEST) -q -n auto -m 'not vm'
	$(PYTEST) -v -m vm

chaos: setup ## cut commands off at every step, 300 times; ARGS='--seed N --rounds N'
	$(VENV)/python -m tests.chaos $(ARGS)

bench: setup ## table of ratios against cp, curl, xorriso, QEMU; ARGS=--run: whole boots, ARGS=boot: by stages
	$(VENV)/python -m tests.bench $(ARGS)

bench-baseline: setup ## measure as bench does, and keep it in tests/bench/baseline.json
	$(VENV)/python -m tests.bench $(ARGS) --keep tests/bench/baseline.json

bench-compare: setup ## what the last `make bench` says that the baseline did not; ARGS=FILE: that report
	$(VENV)/python -m tests.bench.changes $(ARGS)

integration-001: setup ## the commands and their bad input, no VM
	$(PYTEST) tests/integration/test_001_commands.py

integration-001-run: setup ## a VM of INTEGRATION_IMAGE_REF up to ready
	$(PYTEST) -s tests/integration/test_001_run.py

integration-002: setup ## fetch once, copy independently: INTEGRATION_IMAGE_REF
	$(PYTEST) tests/integration/test_002_fetch.py

build: setup ## the wheel, in dist/
	$(VENV)/python -m pip wheel --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean: ## remove what was made here, but not claws and cached images (vclaw rm, vclaw image rm)
	rm -rf .venv build dist .artifacts .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	rm -f .doit.db*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
