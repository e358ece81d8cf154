# `make run` and `make test` need nothing else: each sets up its virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: help run demo test test-long lint translations types format bench bench-check bench-calls bench-steps bench-scale bench-workers bench-pages bench-requests screenshots docs build clean

run: $(VENV)/.server  ## set up and serve on http://127.0.0.1:3000
	@$(BIN)/python server.py $(ARGS)

demo: $(VENV)/.server  ## serve 20,000 made-up sessions from memory; the password is printed
	@$(BIN)/python server.py demo $(ARGS)

# Four workers, since tests wait for servers a fifth of their time; all tests of one server run in the same worker, so that each server starts once.
test: $(VENV)/.dev  ## set up and run the whole test suite
	$(BIN)/python -m pytest -n 4 --dist loadgroup --durations 15 $(ARGS)

# In random order, so that a test that needs another one shows; the seed is printed, and --random-order-seed repeats it.
test-long: $(VENV)/.dev  ## also run the slow rounds and full matrices, in random order
	LONG=1 $(BIN)/python -m pytest --timeout=3600 --durations 15 --random-order --random-order-bucket=module $(ARGS)

lint: $(VENV)/.dev  ## check style, docstrings and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r tornado_sessions server.py settings.py

docs: $(VENV)/.dev  ## build the documentation in build/docs; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

types: $(VENV)/.dev  ## check types strictly, tests included
	$(BIN)/mypy

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

translations: $(VENV)/.dev  ## collect the texts of pages into the catalogues
	$(BIN)/python -m tools.translations

bench: $(VENV)/.dev  ## compare the cost of a session with other systems, and write the results page (needs wrk)
	$(BIN)/python -m benchmarks $(ARGS)

bench-check: $(VENV)/.dev  ## compare our costs with the recorded ones, before a release (needs wrk)
	$(BIN)/python -m benchmarks.check $(ARGS)

bench-calls: $(VENV)/.dev  ## count the function calls of a request; ARGS=--record replaces the recorded counts
	$(BIN)/python -m benchmarks.calls $(ARGS)

bench-steps: $(VENV)/.dev  ## measure each step of a request
	$(BIN)/python -m benchmarks.steps

bench-scale: $(VENV)/.dev  ## measure what grows with the number of sessions, up to a million (at most a quarter of an hour), and add it to the results page
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-workers: $(VENV)/.dev  ## measure one worker and two, and the pauses of the event loop (needs wrk)
	$(BIN)/python -m benchmarks.workers $(ARGS)

bench-pages: $(VENV)/.dev  ## measure lists with a thousand sessions and with a million
	$(BIN)/python -m benchmarks.pages $(ARGS)

bench-requests: $(VENV)/.dev  ## measure whole requests of the dashboard at a million sessions
	$(BIN)/python -m benchmarks.requests $(ARGS)

screenshots: $(VENV)/.dev  ## take the pictures of the documentation from the demo
	$(BIN)/python -m tools.screenshots

lock: $(VENV)/.dev  ## pin the packages of the container image, with their hashes, in requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[audit]'
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --extra server --extra redis --extra mongo --generate-hashes --universal \
	  --no-header --no-annotate -o requirements.lock

audit: $(VENV)/.dev  ## look for known vulnerabilities in the pinned packages (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[audit]'
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.lock

build: $(VENV)/.dev  ## build the wheel in dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove everything that these commands create
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment is rebuilt when pyproject.toml changes. The marker is written last, so a failed set-up is retried.
$(VENV)/.server: pyproject.toml
	@echo "Setting up $(VENV) (once) ..."
	@$(call install,redis$(comma)mongo$(comma)server)
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "Setting up $(VENV) for development (once) ..."
	@$(call install,dev)
	@touch $@ $(VENV)/.server

# uv needs a tenth of pip's time. It does not read pip's configuration, so where that names another index, pip takes over.
comma := ,
pip := $(BIN)/python -m pip install --quiet --disable-pip-version-check
install = { test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && \
	{ { $(pip) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$(1)]'; } 2>/dev/null || $(pip) -e '.[$(1)]'; }
