# Everything that a person does with a checkout. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := schemas projections streams gateways compose tests bench

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check format bench bench-long lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("medbus needs Python 3.11 or newer; name one with PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement constraints.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Run the service, send real images, fetch them back and compare (DATA=folder for your own)
	@$(BIN)/medbus demo $(if $(DATA),--data "$(DATA)")

test: $(STAMP) ## Run all tests, against a real Kafka broker that they start themselves
	$(BIN)/pytest $(ARGS)

test-long: $(STAMP) ## Run the tests that take minutes: the full fault matrix and soak runs
	$(BIN)/pytest -m long $(ARGS)

check: $(STAMP) ## Lint, types, and which part may import which
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(STAMP) ## Measure; one JSON line per figure in bench/results/latest.jsonl
	$(BIN)/python -m bench $(ARGS)

bench-long: $(STAMP) ## The same rate after 200,000 images, and memory over 20 minutes of small ones
	$(BIN)/python -m bench --only sustained endurance --images 200000 --seconds 1200 $(ARGS)

lock: ## Resolve the dependencies anew into constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--extra dev --no-header --no-annotate --output-file constraints.txt pyproject.toml

clean: ## Remove the environment and what tests and benchmarks left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/results
