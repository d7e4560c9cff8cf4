# Every target installs what it needs first: uv, then a virtual environment from the lock, then this package.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Where nothing compiled may be kept, each process compiles torch, Ray and MLflow anew: ten seconds of its start.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/lock.txt
IMAGE := requirements/image.txt
STAMP := $(VENV)/.installed
PEERS := .tools/peers
UV := $(shell command -v uv || echo .tools/bin/uv)

.PHONY: help demo test test-fast test-e2e check format lock bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Acutance needs Python 3.11 or later; PYTHON=/path/to/python3.11 make ... chooses one" if sys.version_info < (3, 11) else 0)'
	@command -v $(UV) >/dev/null || { echo "installing uv into .tools"; $(PYTHON) -m venv .tools; .tools/bin/pip install --quiet uv; }
	@echo "installing the locked packages into $(VENV)"
	@$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@$(UV) pip sync --quiet --require-hashes --python $(BIN)/python $(LOCK)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

demo: $(STAMP) ## the main job on real photographs: shards, training, evaluation, a registered model
	@$(BIN)/acutance run pipelines/quickstart.yaml

# What starts clusters and servers runs beside the rest, and is shown after it. Only its own files are read for it.
CLUSTERS = $$(grep -rl --include='test_*.py' 'mark\.e2e' tests)

test: $(STAMP) ## every test but the long ones
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(BIN)/python -m pytest -m "e2e and not long" $(CLUSTERS) > "$$log" 2>&1 & clusters=$$!; \
	failed=0; $(BIN)/python -m pytest -m "not e2e and not long" || failed=1; \
	echo "the tests that start clusters and servers:"; wait $$clusters || failed=1; cat "$$log"; exit $$failed

test-fast: $(STAMP) ## the tests that start no cluster and no server
	@$(BIN)/python -m pytest -m "not e2e and not long"

test-e2e: $(STAMP) ## the long tests: whole clusters, several hosts, every pipeline small (about an hour; root, postgresql, iproute2)
	@$(BIN)/python -m pytest -m long -rs

check: $(STAMP) ## lint, format, types, import contract, declared packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/deptry platform

format: $(STAMP) ## mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## compile requirements/ anew from pyproject.toml: lock.txt, and image.txt for infra/Containerfile
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-annotate \
	  --custom-compile-command "make lock" pyproject.toml -o $(LOCK)
	@echo "hatchling>=1.27" | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --extra server --no-annotate --constraint $(LOCK) --custom-compile-command "make lock" pyproject.toml - -o $(IMAGE)

$(PEERS)/.installed: benchmarks/peers.txt $(STAMP)
	@echo "installing what the benchmarks compare with into $(PEERS)"
	@$(UV) pip install --quiet --no-deps --require-hashes --no-build-isolation-package basicsr \
	  --python $(BIN)/python --target $(PEERS) -r benchmarks/peers.txt
	@touch $@

bench: $(PEERS)/.installed ## the speed comparisons of benchmarks/
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean: ## remove the environment and every output
	rm -rf $(VENV) .tools outputs
