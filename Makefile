# All commands use .venv, which the first command creates. To choose an interpreter: make test PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

# Two test processes with one thread each: on two cores, more threads would be slower. A process that has finished its
# tests takes over some of the other's (worksteal). No test may reach the Hub.
TEST_ENV := TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
PYTEST := $(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-slow test-newest test-lowest conformance fuzz fuzz-folders kill9 bench lint audit docs cards

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## create .venv and install the package; does nothing when that is up to date

quickstart: .venv/.installed ## train and try a small model on the bundled genomes (a few minutes)
	$(BIN)/hf-genomics quickstart --config recipes/quickstart.yaml

test: .venv/.installed ## run the tests
	$(PYTEST)

test-slow: .venv/.installed ## run the tests that take longer
	$(PYTEST) -m "slow and not gpu and not network"

# Tests to run in the two environments below: all, or for example `make test-newest TESTS=tests/test_cli.py`.
TESTS ?=
# Requirements that override the lower bounds, for example `make test-lowest KEEP=torch==2.13.0`.
KEEP ?=
# The packages whose upper bounds in pyproject.toml `make test-newest` ignores.
BOUNDED ?= torch transformers accelerate jsonargparse

test-newest: .venv-newest/bin/uv ## run the tests with the newest releases of everything, in .venv-newest
	$(@:test-%=.venv-%)/bin/uv pip install --python .venv-newest/bin/python --upgrade -e '.[test]'
	$(@:test-%=.venv-%)/bin/uv pip install --python .venv-newest/bin/python $(addprefix --upgrade-package ,$(BOUNDED)) $(BOUNDED)
	$(TEST_ENV) .venv-newest/bin/python -m pytest -n 2 $(TESTS)

test-lowest: .venv-lowest/bin/uv ## run the tests with the oldest releases that pyproject.toml allows, in .venv-lowest
	$(@:test-%=.venv-%)/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]' $(KEEP)
	$(TEST_ENV) .venv-lowest/bin/python -m pytest -n 2 $(TESTS)

conformance: .venv/.installed ## run transformers' own tests on our model and tokenizer (downloads its source release once)
	$(TEST_ENV) $(BIN)/python -m pytest tests/conformance

fuzz: .venv/.installed ## compare the tokenizer with its slow twin on a million random strings (about 5 minutes)
	$(TEST_ENV) $(BIN)/python tests/fuzz_tokenizer.py

# Other cases: make fuzz-folders CASES=500 SEED=7
CASES ?= 4000
SEED ?= 0
fuzz-folders: .venv/.installed ## change model folders and recipes at random: no verb may crash or hang (about an hour)
	$(TEST_ENV) OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz_model_folder.py --cases $(CASES) --seed $(SEED)

kill9: .venv/.installed ## kill 200 training runs, and compare their results with an undisturbed run (about 5 minutes)
	KILLS=200 $(TEST_ENV) $(BIN)/python -m pytest -rP tests/runs/test_exact_trainer.py -k killed

bench: .venv/.installed ## print the measured speeds, as ratios in one run (about 10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/tokenizer.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/collator.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/data.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/feed.py --rounds 1 --steps 1
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/check.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/store.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/checkpoint.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scaling.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/predict.py --mnt 1 20
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scoring_batches.py --windows 128 --batch_sizes 16 128
	$(BIN)/python benchmarks/train_step.py --rounds 1 --steps 2

cards: .venv/.installed ## copy the package's code into the bundled models, after that code has changed
	$(BIN)/python model_cards/renew_code.py

lint: .venv/.installed-dev ## check style, types and the rules of security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.installed-docs ## build the documentation as a site, in site/; a broken link is an error
	$(TEST_ENV) $(BIN)/mkdocs build --strict

# The pins are read as they stand (--no-deps --disable-pip): nothing is installed, and no package of this environment
# that is not pinned is looked at. pip-audit asks the advisory database of PyPI, so this needs the network.
audit: .venv/.installed-dev ## look the pinned versions up in the database of known vulnerabilities (needs the network)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

# pip runs again only when a file that it reads is newer than the file written here, so a second call does nothing.
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

.PRECIOUS: %/bin/pip
# uv, because pip cannot choose the lowest versions that the requirements allow.
%/bin/uv: | %/bin/pip
	$*/bin/python -m pip install --disable-pip-version-check uv

%/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "hf_genomics needs Python 3.10 or newer, which '$(PYTHON)' is not; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $*
