# make demo     set up everything, train on the embedded digits, open the page
# make test     set up everything, run the tests (ARGS="-k name" chooses some)
# make notebook  open the transfer-learning notebook in Jupyter
# make check    format, lint and types
# make install  set up the environment in .venv
# make builtin  train the built-in model for hours, or go on with runs/everyday (ARGS="--data-dir DIR" takes CIFAR-10 from there)
# make screenshots  the pictures of docs/, from the real page and window (needs Chromium and Xvfb)
# make clean    remove the environment and the tools' caches; runs/ stays
# make bench    the benchmarks that need nothing but this machine

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test check install notebook builtin bench screenshots clean

demo: install
	$(BIN)/whatsit demo $(ARGS)

test: install
	$(BIN)/python -m pytest $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(READY)

# Installed anew when the dependencies change.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "whatsit needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,keras,import,web,desktop,dev]'
	touch $(READY)

notebook: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[notebook]'
	$(BIN)/jupyter notebook examples/beer_or_wings.ipynb $(ARGS)

builtin: install
	$(BIN)/python scripts/builtin.py $(ARGS)

bench: install
	$(BIN)/python benchmarks/predict_start.py
	$(BIN)/python benchmarks/decode_speed.py

screenshots: install
	$(BIN)/python scripts/screenshots_page.py
	$(BIN)/python scripts/screenshots_desktop.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
