# make demo | test | check | bench: each sets up what it needs on a machine with
# python3 and a package index; a second run installs nothing again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
CHAOS_ARGS ?=
BENCH_ARGS ?=

.PHONY: demo test chaos check format bench bench-short clean

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
	$(BIN)/lint-imports --no-logo

format: $(VENV)/ready-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All of them, half an hour on a quiet machine; BENCH_ARGS="core plain" for some. Kept in
# benchmarks/results.json.
bench: $(VENV)/ready-test
	$(BIN)/python -m compileall -q src benchmarks
	$(BIN)/python -m benchmarks $(BENCH_ARGS)
	$(BIN)/python -m benchmarks --show

# Ratios of CPU seconds alone: a verdict in a few minutes, also beside other work.
bench-short: $(VENV)/ready-test
	$(BIN)/python -m compileall -q src benchmarks
	$(BIN)/python -m benchmarks --size short $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist demo-output
