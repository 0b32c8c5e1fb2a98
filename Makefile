# `make demo` and `make test` install what they need into .venv first; the second run starts at once.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
# The uv of this machine, unless it is a shim that does not answer.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .tools/bin/uv)
RUN := .venv/bin/
INSTALLED := .venv/.installed

.PHONY: help demo demo-live dev services browser test test-services test-ui test-faults test-live check format bench lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(INSTALLED) ## The whole job over the sandbox: no account, no internet
	$(RUN)geostack demo

demo-live: $(INSTALLED) ## The same chain against the real Earth Search (internet, no account)
	$(RUN)geostack demo --live

dev: $(INSTALLED) ## Dagster UI and daemon over the sandbox
	$(RUN)geostack dev

test: $(INSTALLED) ## Tests: the fast lane, no network (test-faults, test-services, ... are others)
	$(RUN)python -m pytest

services: $(INSTALLED) ## Install the servers that test-services needs (PostgreSQL: as root)
	@.ci/services

browser: ## Install the browser that test-ui needs (as root)
	@.ci/browser

test-services: services
test-ui: browser
test-services test-ui test-faults test-live: test-%: $(INSTALLED)
	@# 5: the lane has no test yet
	$(RUN)python -m pytest -m $* || [ $$? -eq 5 ]

check: $(INSTALLED) ## Lint, types, import rules, code location
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)dagster definitions validate -w workspace.yaml

format: $(INSTALLED) ## Format and apply safe fixes
	$(RUN)ruff check --fix .
	$(RUN)ruff format .

bench: $(INSTALLED) ## Every benchmark, with its peers beside it (BENCH_FLAGS="--quick")
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(RUN)python $$script $(BENCH_FLAGS) || exit 1; done

lock: $(INSTALLED) ## Pin versions and hashes anew
	$(UV) pip compile pyproject.toml --extra deploy --group dev --group bench --universal --python-version 3.12 \
		--generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o requirements.lock

clean: ## Remove what the targets made
	rm -rf .venv .tools .dagster out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(INSTALLED): pyproject.toml requirements.lock | $(filter .tools/%,$(UV))
	@[ -x .venv/bin/python ] || $(UV) venv --quiet --python 3.13 .venv 2>/dev/null || $(UV) venv --quiet --python '>=3.12' .venv
	$(UV) pip install --quiet --python .venv -r requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv
