# `make demo` and `make test` set up all they need; everything lives in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check format bench lock clean
.DELETE_ON_ERROR:

setup: $(STAMP)  ## everything into .venv; then: source .venv/bin/activate

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup  ## the whole loop on the shipped sample
	$(BIN)/freehold demo

test: setup  ## all tests
	$(BIN)/python -m pytest

check: setup  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## the claims of speed and quality; see benchmarks/log.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements.lock
	$(BIN)/python benchmarks/tuning_cpu.py
	$(BIN)/python benchmarks/banking77.py
	$(BIN)/python benchmarks/capacity.py
	$(BIN)/python benchmarks/breakeven.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/gateway.py
	$(BIN)/python benchmarks/gateway.py --ledger-share
	$(BIN)/python benchmarks/gateway_soak.py --large
	$(BIN)/python benchmarks/gateway_soak.py

lock: setup  ## pin what is installed now
	$(BIN)/python tools/write_lock.py

clean:
	rm -rf $(VENV) build dist
