# On a fresh machine with Python 3.11 or newer and make:
#   make demo    sets everything up and walks the whole path
#   make test    the same environment, with the tests
#   make label-studio    a real Label Studio server on this machine, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check package speed label-studio clean

demo: $(VENV)/.ready
	$(BIN)/loco-tools demo

test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --durations=10 -rs

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Build sdist and wheel, install the wheel outside the repository, and use it there.
package: $(VENV)/.ready-dev
	$(BIN)/python tests/packaging/check_wheel.py

speed: $(VENV)/.ready-dev
	for script in benchmark/speed/*.py; do $(BIN)/python $$script || exit 1; done

# Everything of the server (environment, data, token) stays in .label-studio/, which git ignores.
PORT ?= 8080
label-studio: $(VENV)/.ready
	$(BIN)/python -m loco_tools.annotations.local_server --port $(PORT)

clean:
	rm -rf $(VENV) build dist *.egg-info

# The stamps are older than what they were made from only when something has to be installed.
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing loco-tools into $(VENV) (about 6 GB with torch; once, a few minutes)"
	$(INSTALL) -e '.[all]'
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(INSTALL) -e '.[all,dev]'
	touch $@
