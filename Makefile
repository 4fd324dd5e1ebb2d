# make demo | test | check | bench: each sets up what it needs on a machine with
# python3 and a package index; a second run installs nothing again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
CHAOS_ARGS ?=

.PHONY: demo test chaos check format bench clean

$(VENV)/ready-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

demo: $(VENV)/ready-demo
	$(BIN)/gridmill demo

test: $(VENV)/ready-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Every fault at every moment, for CHAOS_ARGS="--minutes 60 --seed 1"; goes on where it stopped.
# With --store s3, icechunk or s3-icechunk on those; --results keeps each apart.
chaos: $(VENV)/ready-test
	PYTHONPATH=tests $(BIN)/python tests/trust/chaos.py $(CHAOS_ARGS)

check: $(VENV)/ready-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/ready-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/ready-test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist demo-output
