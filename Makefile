# Two commands set everything up on a fresh Debian: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

# What a build may depend on; setup.py itself looks whether anything of it changed.
COMPILED := setup.py $(wildcard $(foreach folder,protocols protocols/* recorder gateway,$(folder)/*.py $(folder)/*.[ch]))

.PHONY: help demo test deep lint bench smoke clean lock tools

help:            ## what there is to do
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.demo: pyproject.toml setup.py requirements.lock
	@tests/setup/venv $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.lock
	@tests/setup/venv $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@

$(VENV)/.built: $(VENV)/.demo $(COMPILED)
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

demo: $(VENV)/.built  ## the main job on embedded defaults (ARGS=--stay leaves it running)
	@tests/setup/tools demo
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.built tools lint  ## the tests, with real clients and servers (under 15 minutes on 2 cores)
	@# Some tests have clocks in them, and neighbours that take the CPU: what failed beside
	@# others is run once more alone, and has to pass then.
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not deep" $(ARGS) || { \
		echo "a second look, alone, at what failed:"; \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not deep" $(ARGS); }

deep: $(VENV)/.dev $(VENV)/.built tools  ## the long suites: crash loops, fuzzing, exhaustive flips
	@tests/setup/tools deep
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m deep --timeout 3600 $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.dev $(VENV)/.built tools  ## what the gateway costs here, as a page (under 10 minutes; ARGS=--all: hours)
	@$(BIN)/python -m bench $(ARGS)

smoke: $(VENV)/.dev $(VENV)/.built tools  ## every scenario of the bench once, tiny: is the work done right? (a minute)
	@$(BIN)/python -m bench smoke $(ARGS)

tools:           ## PostgreSQL, its clients, pgbouncer, OpenSSH and git, from Debian where they are missing
	@tests/setup/tools

lock: pyproject.toml  ## write the hash-pinned requirements anew
	@uv pip compile -q --universal --generate-hashes --python-version 3.11 --extra demo -o requirements.lock pyproject.toml
	@uv pip compile -q --universal --generate-hashes --python-version 3.11 --extra dev -o requirements-dev.lock pyproject.toml

clean:           ## forget the environment and what was built
	rm -rf $(VENV) .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find gateway protocols recorder \( -name '*.so' -o -name _hot.stamp \) -delete
