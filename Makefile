# Needs make, git and Python 3.11 or newer. All else goes into .venv, from the lock files.
VENV := .venv
BIN := $(VENV)/bin
# uv from PATH, or else from the dev lock; pip does the work when neither runs.
UV = $(or $(shell command -v uv),$(BIN)/uv)
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)
# How `make lock` resolves; releases younger than COOLDOWN stay out.
COOLDOWN := 7 days
COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --exclude-newer '$(COOLDOWN)' \
	--custom-compile-command 'make lock' --extra postgres

ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test postgres check bench lock clean

help:
	@echo 'make demo    run one whole trade between four nodes on this machine'
	@echo 'make serve   keep the demo network up, with the dashboard'
	@echo 'make test    run the tests'
	@echo 'make check   check format, lint, types, layers, sizes'
	@echo 'make bench   run the benchmarks, write their tables into docs/performance.md'
	@echo 'make lock    resolve the lock files again'
	@echo 'make clean   remove .venv, caches and built files'

demo: $(VENV)/runtime.stamp
	@$(BIN)/p2ptrade demo

serve: $(VENV)/runtime.stamp
	@$(BIN)/p2ptrade demo --serve

test: $(VENV)/dev.stamp postgres
	@echo '== tests'
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

# A PostgreSQL server for the tests, which run one of their own; by apt where there is none.
postgres:
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
		echo '== PostgreSQL, by apt'; \
		$(AS_ROOT) apt-get update -qq && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq --yes --no-install-recommends postgresql >/dev/null; \
	} || { echo 'the tests need a PostgreSQL server: put its postgres and initdb on PATH'; exit 1; }

check: $(VENV)/dev.stamp
	@echo '== format'
	@$(BIN)/ruff format --check --quiet .
	@echo '== lint'
	@$(BIN)/ruff check --quiet .
	@echo '== types'
	@$(BIN)/mypy
	@echo '== layers'
	@$(BIN)/lint-imports --no-logo
	@echo '== sizes and habits'
	@$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_layers.py

bench: $(VENV)/dev.stamp
	@$(BIN)/python -m bench --write

lock: $(BIN)/python
	@$(COMPILE) --group dev --output-file requirements-dev.lock $(LOCK_FLAGS)
	@$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements.lock \
		$(LOCK_FLAGS)

clean:
	@rm -rf $(VENV) build dist *.egg-info htmlcov .coverage .coverage.*
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find adapter tests -name __pycache__ -prune -exec rm -rf {} +

# $(call install,what): pip arguments, tried with uv, then with pip.
define install
	@$(UV) pip install --quiet --python $(BIN)/python $(1) \
		|| { echo 'uv did not manage, pip tries'; $(BIN)/python -m pip install --quiet $(1); }
endef

# Runtime packages and the project itself.
$(VENV)/runtime.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo '== packages of requirements.lock'
	$(call install,--require-hashes -r requirements.lock)
	$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

# The tools on top; both locks hold the same versions.
$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	@echo '== packages of requirements-dev.lock'
	$(call install,--require-hashes -r requirements-dev.lock)
	@touch $@

# A venv with pip; without uv on PATH also uv, with the version and hashes of the dev lock.
$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed'; exit 1; }
	@echo '== $(VENV)'
	@$(PYTHON) -m venv --clear $(VENV) || uv venv --quiet --clear --seed --python '$(PYTHON)' $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock >$(VENV)/uv.lock
	@command -v uv >/dev/null \
		|| $(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.lock \
		|| echo 'uv is not to be had, pip will do'
