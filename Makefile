# Everything lives in .venv; a stamp for each set of requirements says that it is installed.
PYTHON ?= python3
BIN := .venv/bin
# constraints.txt is the lock: the sorted `pip freeze` of a .venv that passes `make test`. -qq: errors only.
PIP_INSTALL := $(BIN)/python -m pip install -qq -c constraints.txt

# What .venv was made from. An archive keeps the times of its files, so times alone do not tell that one has changed.
LOCK := requirements.txt requirements-gpu.txt requirements-dev.txt constraints.txt
$(shell [ "$$(cat $(LOCK))" = "$$(cat .venv/made-from 2>/dev/null)" ] || rm -f .venv/.installed-run .venv/.installed-dev)

.PHONY: run test test-long bench clean
.DELETE_ON_ERROR:

# One line with exec: with a compound recipe a SIGTERM would end the shell and leave the portal running.
run: .venv/.installed-run
	@exec .venv/bin/python manage.py serve

# The cheap checks first, pytest last. The checks of Django get a data directory of their own and never see var/.
test: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && export PORTAL_DATA_DIR="$$data" && set -x && \
	PORTAL_HTTPS=1 $(BIN)/python manage.py check --deploy --fail-level WARNING && \
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest -m "not long"

# A storm of ten minutes, 500 cycles, 2,000 pictures: half an hour. PORTAL_TEST_SCALE=1 is a tenth of it.
test-long: .venv/.installed-dev
	PORTAL_TEST_SCALE=$${PORTAL_TEST_SCALE:-10} $(BIN)/python -m pytest -m long -o timeout=2400

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks

# Leaves var/ alone: it holds the database and the uploaded models.
clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +

# The target is pip, not python: where ensurepip is missing (Debian without python3-venv) a venv without pip is left.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "The portal needs Python 3.11, 3.12 or 3.13, as TensorFlow does: make PYTHON=python3.13")'
	$(PYTHON) -m venv .venv

# The plain tensorflow package serves on the CPU without a word: where there is a GPU, its CUDA libraries come too.
.venv/.installed-run: requirements.txt requirements-gpu.txt constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) -r requirements.txt $$(nvidia-smi -L >/dev/null 2>&1 && echo -r requirements-gpu.txt)
	@cat $(LOCK) > .venv/made-from
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed-run
	$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@
