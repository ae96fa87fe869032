# `make demo` and `make test` need nothing but Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

# The files that run on every backend.
LAYER_TESTS = tests/test_reference.py tests/test_cell.py tests/test_layer.py \
	tests/test_engines.py tests/test_inside.py tests/test_trace.py \
	tests/test_gradients.py tests/test_attribution.py tests/test_exchange.py \
	tests/test_torch_weights.py tests/test_losses.py tests/test_language_model.py \
	tests/test_generation.py

# Most of the time goes into compiling small models, which one core does at a time.
PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-real test-slow test-backends lint

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.imdb_sentiment --data embedded \
		--recipe embedded --name demo --overwrite

test: $(VENV)/.installed
	$(PYTEST)

# The reduced run on real reviews; LSTM_KERAS_DATA names the folder that holds them.
test-real: $(VENV)/.installed
	$(BIN)/python -m pytest -m real

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

# Most of JAX's time goes into compiling many small models; plain code will do here.
# The threads of two torch processes would wait for each other.
test-backends: $(VENV)/.backends
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=true $(PYTEST) $(LAYER_TESTS)
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(PYTEST) $(LAYER_TESTS)

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
