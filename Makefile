# `make demo` is the way in; `make help` lists the rest. Needs Python 3.11, 3.12 or 3.13 and make, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
# An activated environment of the user's, or PYTHONPATH, must not leak into ours. And bytecode is kept whatever their shell says: without
# it each process compiles all of Airflow and MLflow anew, 15 s in place of 6.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME UV_PYTHON UV_PROJECT_ENVIRONMENT PYTHONDONTWRITEBYTECODE PYTEST_ADDOPTS

# pip's own index setting (a company's mirror) counts for uv too, which does not read it by itself.
INDEX = $(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL),$(shell $(RUN) -m pip config get global.index-url 2>/dev/null))
INSTALL = $(if $(INDEX),UV_DEFAULT_INDEX="$(INDEX)" )$(BIN)/uv pip install -q --python $(RUN) --require-hashes

# The first that fits; `make demo PYTHON=/path/to/python3.12` names another.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.12 python3.11 python3.13 python3 python)
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

BEGUN := $(shell date +%s)

.PHONY: help setup demo up down status app suggest-suite new-workflow reproduce test unit acceptance coverage check fix bench lock clean

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 21

demo: $(VENV)/.installed ## Bring everything up, run the whole loop on real flights (or WORKFLOW=release_notes, air_quality), show what came of it
	@UPDRAFT_MAKE_BEGUN=$(BEGUN) $(RUN) -m embedded demo $(WORKFLOW)

up: $(VENV)/.installed ## Start PostgreSQL, Airflow and the endpoint
	@$(RUN) -m embedded up

down: ## Stop all that was started here, and nothing else
	@if [ -x $(RUN) ]; then $(RUN) -m embedded down; else echo "Nothing was running."; fi

status: ## Say what runs
	@if [ -x $(RUN) ]; then $(RUN) -m embedded status; else echo "Nothing runs here: make demo starts it."; fi

app: $(VENV)/.installed ## Open a web page that asks a workflow's endpoint: NAME=flight_delays
	@$(RUN) -m embedded.app "$(NAME)"

suggest-suite: $(VENV)/.installed ## Suggest an expectation suite from what a workflow's lake holds: NAME=flight_delays
	@$(RUN) -m embedded.suggest_suite "$(NAME)"

new-workflow: $(VENV)/.installed ## Write a workflow's folder and Dag file, to be changed: NAME=orders SOURCE=database|web|sensor|file
	@$(RUN) -m embedded.new_workflow "$(NAME)" "$(SOURCE)"

reproduce: $(VENV)/.installed ## Fit a version again from its manifest and compare digests: NAME=flight_delays VERSION=3
	@$(RUN) -m embedded.reproduce "$(NAME)" "$(VERSION)"

setup: $(VENV)/.installed-dev ## Install what tests and checks need, in .venv

test: $(VENV)/.installed-dev ## Check and test everything that takes seconds: what CI runs
	@$(MAKE) -j2 --output-sync=target check unit

# Bounded: what hangs fails with its stack.
unit: $(VENV)/.installed-dev
	@timeout --kill-after=10 900 $(RUN) -m pytest -q -ra -n 2 --dist loadfile $(PYTEST_ARGS) </dev/null

acceptance: $(VENV)/.installed-dev ## Try what Updraft claims on real parts, a row a claim: kills, backfills, load (ONLY=kills,backfill)
	@ONLY="$(ONLY)" $(RUN) -m tests.acceptance </dev/null

coverage: $(VENV)/.installed-dev ## Print which lines of include/ the quick tests run
	@$(RUN) -m pytest -q -n 2 --dist loadfile -p tests.line_coverage --cover </dev/null

check: $(VENV)/.installed-dev ## Lint, formatting, types, import contracts
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format --check -q .
	@PYTHONPATH=.:plugins $(BIN)/lint-imports >$(VENV)/contracts.log 2>&1 || { cat $(VENV)/contracts.log; exit 1; }
	@$(BIN)/mypy

fix: $(VENV)/.installed-dev ## Repair what lint and formatting can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure, as ratios beside the targets
	@$(RUN) -m benchmarks $(BENCH_ARGS)

lock: $(VENV)/.bootstrapped ## Resolve requirements*.in anew, with hashes
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(LOCK_ARGS) -o requirements-dev.txt requirements-dev.in
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(LOCK_ARGS) -o requirements.txt -c requirements-dev.txt requirements.in
	@{ sed -n 1p requirements-bootstrap.txt; awk '/^[a-z]/ {p = 0} /^uv==/ {p = 1} p && !/#/' requirements-dev.txt; } > requirements-bootstrap.new
	@mv requirements-bootstrap.new requirements-bootstrap.txt

clean: down ## Stop everything, and remove .venv and .updraft
	rm -rf $(VENV) .updraft

# Each stamp is as new as the lock that it stands for: a second make does nothing.
$(VENV)/.python:
	@if $(RUN) -c '$(FITS)' >/dev/null 2>&1; then touch $@; exit 0; fi; \
	fit=; for python in $(CANDIDATES); do \
	  if "$$python" -c '$(FITS)' >/dev/null 2>&1; then fit=$$python; break; fi; done; \
	if [ -z "$$fit" ]; then \
	  echo "Updraft needs Python 3.11, 3.12 or 3.13 with its venv module, and found none among: $(CANDIDATES). Install one (Debian: python3-venv too), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo "Creating $(VENV) with $$($$fit --version)"; \
	rm -rf $(VENV) && "$$fit" -m venv $(VENV) && touch $@

$(VENV)/.bootstrapped: requirements-bootstrap.txt | $(VENV)/.python
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-input --require-hashes --only-binary :all: -r requirements-bootstrap.txt
	@touch $@

# `install`, not `sync`: what `make test` added stays.
$(VENV)/.installed: requirements.txt $(VENV)/.bootstrapped
	@echo "Installing the locked requirements (hashes checked)"
	@$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the tools for tests and checks (hashes checked)"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@
