# Needs python3 (3.11 or later) and make; everything else is put into .venv, from locked and hashed files.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --quiet --disable-pip-version-check install
# Two processes: half of a test is waiting; more would make each other late. How they share: tests/conftest.py.
SIDE_BY_SIDE := -n 2 --dist loadscope
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build

# Each is touched when its step is through: newer than what it was made from means there is nothing to do.
VENV_READY := $(VENV)/ready
RUN_READY := $(VENV)/ready-to-run
TEST_READY := $(VENV)/ready-to-test

.PHONY: run setup test lint docs lock bench fuzz clean moved

run: $(RUN_READY)
	@exec $(BIN)/relay dev $(ARGS)

setup: $(RUN_READY)
	@echo "$(BIN)/relay is ready; try: $(BIN)/relay --help"

test: $(TEST_READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict relay
	$(BIN)/lint-imports

# Pages that are drawn from the code's own tables; a test says when they are stale.
docs: $(TEST_READY)
	$(BIN)/python docs/generate.py

bench: $(TEST_READY)
	$(BIN)/python -m bench $(ARGS)

# Requests made up from the API's own document, so many of each kind and other ones at each run.
fuzz: $(TEST_READY)
	FUZZ_EXAMPLES=500 $(BIN)/python -m pytest tests/web/test_schemathesis.py --timeout=0 $(ARGS)

# The second is held to the first, so that tests run on the versions that users get.
lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: python3 -m pip install uv" >&2; exit 1; }
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) --extra test --constraint requirements.txt pyproject.toml -o requirements-test.txt

# Also what `make run` left in .relay: its database, keys and sockets.
clean:
	rm -rf $(VENV) .relay build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The commands in .venv hold the path that it was made at, so in a checkout that was moved it is made anew.
ifneq ($(or $(shell cat $(VENV_READY) 2>/dev/null),$(CURDIR)),$(CURDIR))
$(VENV_READY) $(RUN_READY): moved
endif

# --clear: a half-made .venv, or another Python's, is made anew.
$(VENV_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "The relay needs Python 3.11 or later; '$(PYTHON)' is not, or not there:" \
			"install a later Python, then name it: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' came without venv or ensurepip. Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Building $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@pwd -P > $@

# The relay itself comes last, without a look at any index: its build tools are in the lock.
$(RUN_READY): requirements.txt pyproject.toml | $(VENV_READY)
	@echo "Installing the locked packages; the first time takes about a minute ..."
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(TEST_READY): requirements-test.txt $(RUN_READY)
	@echo "Installing the locked packages of the tests ..."
	@$(INSTALL) --require-hashes -r requirements-test.txt
	@touch $@
