# Every target makes the virtual environment that it needs; `make help` lists them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
# A folder of real data for the demo: MovieLens (ratings.csv) or the neutral format. Empty: a simulated world.
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help demo test unit scenarios check format schemas bench constraints clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) is not on the PATH; install Python 3.11 or later, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Two stamps: what running needs, and what developing needs on top.
$(VENV)/.running: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing what the platform runs on into $(VENV): some minutes the first time."
	@$(PIP_INSTALL) --editable '.[serving,training,governance]'
	@touch $@

$(VENV)/.developing: $(VENV)/.running
	@echo "Installing what development needs on top."
	@$(PIP_INSTALL) --editable '.[serving,training,governance,postgres,control-plane,test]'
	@touch $@

demo: $(VENV)/.running ## From data to served recommendations, with a report in var/demo (DATA=folder for real data)
	$(BIN)/streamrec demo $(if $(DATA),--data $(DATA))

test: $(VENV)/.developing ## Every test; unit tests first
	@rm -rf var/tests
	$(BIN)/pytest --numprocesses auto --junit-xml var/tests/unit.xml tests/unit tests/architecture
	$(BIN)/python tests/run_long_parts.py var/tests
	@$(BIN)/python tests/count_tests.py var/tests

unit: $(VENV)/.developing ## The fast tests alone, on all cores
	$(BIN)/pytest --numprocesses auto tests/unit tests/architecture

scenarios: $(VENV)/.developing ## The long tests: whole worlds in closed loop, failures under load; over an hour
	$(BIN)/pytest --timeout 7200 tests/scenarios

check: $(VENV)/.developing ## Format, lint, types, import contracts, current JSON Schemas
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m streamrec.contracts.json_schemas docs/schemas --check

schemas: $(VENV)/.developing ## Write the JSON Schemas of the shared formats, docs/schemas
	$(BIN)/python -m streamrec.contracts.json_schemas docs/schemas

format: $(VENV)/.developing ## Format the code and sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.developing ## Measure side by side; prints tables, asserts nothing about seconds
	@for script in tests/benchmarks/benchmark_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	$(BIN)/streamrec recommendations bench --rps 60 --duration-s 10 --warm-up-s 3 --rounds 1 --json var/bench/bench.json

constraints: $(VENV)/.developing ## Write constraints.txt from this environment
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean: ## Remove everything that the other targets made, the environment included
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
