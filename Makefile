# `make demo` and `make test` need nothing but Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

# The files that run on every backend.
LAYER_TESTS = tests/test_reference.py tests/test_cell.py tests/test_layer.py \
	tests/test_engines.py \
	tests/test_losses.py tests/test_language_model.py tests/test_generation.py

.PHONY: demo test test-real test-slow test-backends lint

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.imdb_sentiment --data embedded \
		--recipe embedded --name demo --overwrite

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# The reduced run on real reviews; LSTM_KERAS_DATA names the folder that holds them.
test-real: $(VENV)/.installed
	$(BIN)/python -m pytest -m real

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

# Most of JAX's time goes into compiling many small models; plain code will do here.
test-backends: $(VENV)/.backends
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=true $(BIN)/python -m pytest $(LAYER_TESTS)
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(LAYER_TESTS)

lint: $(VENV)/.installed
	$(PIP) install ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): TensorFlow takes a minute or two ..."
	$(PIP) install --editable '.[test]'
	touch $@

# One version of torch, so that a CPU build that pip finds is not passed over for a
# newer one with gigabytes of CUDA.
$(VENV)/.backends: $(VENV)/.installed
	$(PIP) install --editable '.[jax,torch]' torch==2.13.0
	touch $@
