# `make demo` shows what it is for, `make test` proves that it works; both set up what they need in .venv.
PYTHON ?= $(shell for it in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$it >/dev/null 2>&1 && $$it -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$it; break; }; done)
VENV ?= .venv
BIN = $(VENV)/bin
# Many tests wait for a moment, for a process or for the plugin's grace: two of them share a processor well.
JOBS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN || echo 1))
# Where it is set, the hundreds of processes that the tests start would each compile all that they import.
unexport PYTHONDONTWRITEBYTECODE

# What `make validate` repeats.
REPEATED ?= $(wildcard tests/reference_queue/test_*.py tests/reference_queue/*/test_*.py)

.PHONY: help demo test validate lint types golden bench bench-here clean

help:
	@echo "make demo    the plugin finds what the incident's queue leaks, and passes the reference queue"
	@echo "make test    all tests"
	@echo "make validate  the queue's tests under the plugin, each repeated to see what grows"
	@echo "make lint    ruff: rules and format"
	@echo "make types   mypy --strict and pyright strict"
	@echo "make golden  write the expected reports anew (read the difference before you commit it)"
	@echo "make bench   what the plugin and the queue cost, peers in the same run; AREAS='tests queue' for some"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; say where one is: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[asyncio,demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group test
	@touch $@

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

$(VENV)/.types: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group typing
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py

# Two runs: what the queue's tests import (web frameworks, clients of servers, metrics) would lie in the heap that the
# plugin's tests search; a search takes half as long again with it. With ARGS, one of the two may have no test to run.
RUN_TESTS = $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=worksteal $(ARGS)
OR_NONE = $(if $(ARGS),|| [ $$? -eq 5 ])

test: $(VENV)/.test
	$(RUN_TESTS) --ignore=tests/reference_queue tests pytest_taskleak $(OR_NONE)
	$(RUN_TESTS) tests/reference_queue reference_queue README.md $(OR_NONE)

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# The queue is the plugin's first customer: its tests, each several times over, with every kind that is looked for.
# A process for each file, because what it imports is counted with every repetition. What other processes keep, those of
# the executors and the servers, nobody counts here.
validate: $(VENV)/.test
	@printf '%s\n' $(REPEATED) | xargs -n 1 -P $$(getconf _NPROCESSORS_ONLN || echo 1) -t \
		$(BIN)/python -m pytest -p taskleak --taskleak=fail --taskleak-kinds=all --taskleak-repeat=3 -q --no-header $(ARGS)

types: $(VENV)/.types
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

golden: $(VENV)/.test
	$(BIN)/python tests/golden/make.py

# The peers are pytest plugins themselves: they get environments of their own, some of which the programs make.
bench:
	@$(MAKE) --no-print-directory bench-here VENV=$(VENV)-bench

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group bench
	@touch $@

bench-here: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py $(AREAS)

clean:
	rm -rf $(VENV) .venv-bench .venv-bench-* build dist .pytest_cache .mypy_cache .ruff_cache
