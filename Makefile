# Two commands do everything: `make run` and `make test`. Each sets up its own virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-long lint types format bench bench-pages screenshots build clean

run: $(VENV)/.server  ## set up and serve on http://127.0.0.1:3000
	@$(BIN)/python server.py $(ARGS)

# Two workers; all tests of one server run in the same worker, so that each server starts once.
test: $(VENV)/.dev  ## set up and run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 15 $(ARGS)

test-long: $(VENV)/.dev  ## soak and crash rounds at full count
	LONG=1 $(BIN)/python -m pytest --timeout=3600 $(ARGS)

lint: $(VENV)/.dev  ## style, direction of imports, docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## strict types, tests included
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## CPU per request beside a bare handler, in one run
	$(BIN)/python -m benchmarks.overhead $(ARGS)

bench-pages: $(VENV)/.dev  ## how long lists take with a thousand sessions and with a million
	$(BIN)/python -m benchmarks.pages $(ARGS)

screenshots: $(VENV)/.dev  ## the pictures of the documentation, anew
	@mkdir -p build/screenshots
	SCREENSHOTS=$(CURDIR)/build/screenshots $(BIN)/python -m pytest tests/browser -k "not redis and not mongo"
	@cd docs/screenshots && for name in *.png; do cp "$(CURDIR)/build/screenshots/$$name" .; done

build: $(VENV)/.dev
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment is made anew when pyproject.toml changes; the marker is written last, so a broken set-up is tried again.
$(VENV)/.server: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[redis,mongo,server]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) for development (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.server
