# One verb for each thing one does here. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test unit cover check proto bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: setup  ## run the hello example and print the greeting it answers over HTTP
	$(BIN)/python examples/demo.py

test: check  ## lint, types and all tests
	$(BIN)/python -m pytest $(PARALLEL) -m "not alone"
	$(BIN)/python -m pytest -m alone

# Most of a test is waiting: as many run at a time, each file's in one process and in their order.
WORKERS ?= 2
PARALLEL = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Whole applications: processes, containers, documents.
WHOLE := tests/modes tests/deploy tests/compose tests/faults tests/benchmarks tests/test_api.py tests/test_cli_run.py \
	tests/test_docs.py tests/test_examples.py tests/test_compat.py tests/test_testing.py

unit: setup  ## the quick tests: a module at a time, nothing slow
	$(BIN)/python -m pytest $(PARALLEL) -m "not containers and not slow" $(addprefix --ignore=,$(WHOLE))

cover: setup  ## which lines the quick tests run
	$(BIN)/python -m coverage run -m pytest -q -m "not containers and not slow" $(addprefix --ignore=,$(WHOLE))
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered

check: setup  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

proto: setup  ## regenerate meshgen/v1 from protos/ (a test holds them in step)
	$(BIN)/python -m grpc_tools.protoc --proto_path=protos --python_out=. --pyi_out=. protos/meshgen/v1/mesh.proto

bench: setup  ## the benchmarks; print tables and write JSON beside themselves
	$(BIN)/python -m benchmarks.handle_calls
	$(BIN)/python -m benchmarks.chaining

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
