# On a fresh machine with Python 3.11 or newer and make:
#   make demo            installs everything and walks the whole path
#   make test            runs the tests in the same environment
#   make check           checks format, lint and types
#   make chaos           kills every command at every file operation (minutes)
#   make results         computes our tables of the three classes again (hours; see benchmark/README.md)
#   make label-studio    starts a Label Studio server on this machine, in an environment of its own
#   make fuzz            gives every reader 100,000 damaged and hostile files (hours; INPUTS=N: fewer)
#   make test-anomalib   tests anomalib's models under our protocol, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test fuzz check package speed results label-studio clean anomalib test-anomalib \
	anomalib-models speed-anomalib

demo: $(VENV)/.ready
	$(BIN)/loco-tools demo

test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --durations=10 -rs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules loco_tools

INPUTS ?= 100000
fuzz: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 LOCO_TOOLS_FUZZ_INPUTS=$(INPUTS) $(BIN)/python -m pytest -n auto --durations=0 tests/fuzz

# Kills each command at every file operation, fills the disk at each, and prints what is left.
CHAOS := tests tests/annotations tests/benchmark tests/capture tests/faults
chaos: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 PYTHONPATH=$(subst $() ,:,$(CHAOS)) $(BIN)/python tests/faults/test_faults.py

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Builds sdist and wheel, installs the wheel outside the repository, and uses it there.
package: $(VENV)/.ready-dev
	$(BIN)/python tests/packaging/check_wheel.py

speed: $(VENV)/.ready-dev
	for script in benchmark/speed/*.py; do $(BIN)/python $$script || exit 1; done

# Renders the three classes with the twin from their plans, runs the benchmark, and publishes the
# tables. Run it again to continue. WEIGHTS=mobilenet_v2.pth BACKBONE=mobilenet_v2 uses other
# features and publishes them in a file of their own. A quick trial:
#   make results RESULTS=trial PUBLISHED=trial.md CAPTURE_OPTIONS=--demo BENCH_OPTIONS='--seeds 0'
RESULTS ?= runs/three_classes
RESULTS_SEED ?= 1
BACKBONE ?= mobilenet_v2
LOCO := $(abspath $(BIN))/loco-tools
PUBLISHED ?= benchmark/results/three_classes$(if $(WEIGHTS),_$(BACKBONE)).md
results: $(VENV)/.ready
	mkdir -p $(RESULTS)
	cd $(RESULTS) && for class in angle composite_part flat_connector; do \
		test -d data/$$class || { \
			$(LOCO) capture --class $$class --seed $(RESULTS_SEED) $(CAPTURE_OPTIONS) \
			&& $(LOCO) label simulate captures/$$class/session-001 \
			&& $(LOCO) convert captures/$$class/session-001/labelstudio.json; } || exit 1; \
	done
	cd $(RESULTS) && $(LOCO) bench --suite results --data data --out runs/results$(if $(WEIGHTS),_$(BACKBONE)) \
		$(if $(WEIGHTS),--backbone $(BACKBONE) --weights $(abspath $(WEIGHTS))) $(BENCH_OPTIONS)
	$(LOCO) report $(RESULTS)/runs/results$(if $(WEIGHTS),_$(BACKBONE)) --publish $(PUBLISHED)

# The server keeps its environment, data and token in .label-studio/, which git ignores.
PORT ?= 8080
label-studio: $(VENV)/.ready
	$(BIN)/python -m loco_tools.annotations.server.local_server --port $(PORT)

# An environment on top of the first one: it holds anomalib and what only anomalib needs, and finds
# everything else (torch, for example) in $(VENV), which is not changed.
ANOMALIB := $(VENV)-anomalib
PURELIB := import sysconfig; path = sysconfig.get_path("purelib")
anomalib: $(ANOMALIB)/.ready

test-anomalib: anomalib
	OMP_NUM_THREADS=1 $(ANOMALIB)/bin/python -m pytest -rs tests/methods/test_anomalib_adapter.py

anomalib-models: anomalib
	OMP_NUM_THREADS=2 $(ANOMALIB)/bin/python benchmark/speed/anomalib/models.py

# Takes an hour; not part of any other target: DATA="CLASS..." WEIGHTS=mobilenet_v2.pth
speed-anomalib: anomalib
	$(ANOMALIB)/bin/python benchmark/speed/anomalib/side_by_side.py --weights $(WEIGHTS) $(DATA)

clean:
	rm -rf $(VENV) $(ANOMALIB) build dist *.egg-info

# A stamp is older than its prerequisites only when something has to be installed.
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing loco-tools into $(VENV) (about 6 GB with torch; once, a few minutes)"
	$(INSTALL) -e '.[all]'
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(INSTALL) -e '.[all,dev]'
	touch $@

$(ANOMALIB)/.ready: $(VENV)/.ready-dev
	rm -rf $(ANOMALIB)
	$(PYTHON) -m venv $(ANOMALIB)
	$(BIN)/python -c '$(PURELIB); print(f"import site; site.addsitedir({path!r})")' \
		> "$$($(ANOMALIB)/bin/python -c '$(PURELIB); print(path)')/first.pth"
	$(ANOMALIB)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[anomalib]'
	touch $@
