# `make run` starts the page, `make test` runs everything the build server runs. Both make what they need.
# Arguments for the program: make run ARGS="--port 7861", make demo ARGS="--json --seed 1".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
CODE := $(wildcard app.py ooc_app training db tests benchmarks)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo student check test soak screenshots clean

help:
	@echo "make run      start the page on 127.0.0.1:7860 with the demo desk"
	@echo "make test     all checks and tests, as the build server runs them"
	@echo "make soak     the long runs of kills and loads"
	@echo "make setup    make .venv and install requirements.txt, nothing else"
	@echo "make check    format, ruff, mypy --strict, the fast tests"
	@echo "make demo     the whole loop without a browser, ending with its table"
	@echo "make student  pretrain the tiny student again into assets/student"
	@echo "make screenshots  take the pictures in docs/guide.md anew"
	@echo "make clean    remove .venv and caches; the data folder stays"

setup: $(VENV)/.requirements

run: $(VENV)/.requirements
	$(BIN)/python app.py $(ARGS)

demo: $(VENV)/.requirements
	$(BIN)/python -m ooc_app demo $(ARGS)

student: $(VENV)/.requirements
	$(BIN)/python -m training.pretrain $(ARGS)

check: $(VENV)/.requirements-dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/pytest -m "not slow and not browser and not soak" $(ARGS)

test: $(VENV)/.requirements-dev $(VENV)/.browser $(VENV)/.postgres
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not soak and not browser" --numprocesses 2 --dist loadfile $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "browser and not soak" $(ARGS)

soak: $(VENV)/.requirements-dev $(VENV)/.browser $(VENV)/.postgres
	$(BIN)/pytest -m soak $(ARGS)

screenshots: $(VENV)/.requirements-dev $(VENV)/.browser
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file is newer than what it was made from, so a second call does nothing.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OOC Desk needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || ( \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip )
	@touch $@

$(VENV)/.requirements: requirements.txt $(VENV)/.made
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt $(VENV)/.requirements
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.browser: .ci/browser $(VENV)/.requirements-dev
	.ci/browser $(BIN)/python
	@touch $@

$(VENV)/.postgres: .ci/postgres $(VENV)/.made
	.ci/postgres
	@touch $@
