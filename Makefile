# `make demo` and `make test` need nothing but Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip $(QUIETLY)
QUIETLY = --disable-pip-version-check --quiet
# Another environment, with the lowest versions that setup.cfg allows.
LOWEST ?= .venv-lowest

# The files that run on every backend.
LAYER_TESTS = tests/lstm_keras/test_reference.py tests/lstm_keras/test_cell.py tests/lstm_keras/test_layer.py \
	tests/lstm_keras/test_layer_options.py tests/lstm_keras/test_call_arguments.py \
	tests/lstm_keras/engines/test_compaction.py tests/lstm_keras/engines/test_engines.py tests/lstm_keras/interpret/test_hooks.py tests/lstm_keras/interpret/test_trace.py \
	tests/lstm_keras/interpret/test_gradients.py tests/lstm_keras/interpret/test_attribution.py tests/lstm_keras/convert/test_builtin.py \
	tests/lstm_keras/convert/test_pytorch.py tests/lstm_keras/language_model/test_losses.py tests/lstm_keras/language_model/test_model.py \
	tests/lstm_keras/language_model/test_generation.py tests/lstm_keras/test_leaks.py tests/experiments/common/test_keeper.py \
	tests/experiments/common/test_data_parallel.py

# They need the extra onnx, and skip without it.
ONNX_TESTS = tests/lstm_keras/test_onnx_export.py

# What tells most about a version: equality with its Keras, scores, figures, and an
# experiment; not the longest tests of the engines, nor how much memory a training takes,
# which is TensorFlow's business, too.
LOWEST_TESTS = tests/lstm_keras/test_cell.py tests/lstm_keras/test_layer.py tests/lstm_keras/engines/test_engines.py \
	tests/lstm_keras/evaluation/test_classification.py tests/lstm_keras/plots/test_comparison.py tests/experiments/common/test_jobs.py \
	tests/experiments/test_imdb_sentiment.py -k "not agrees and not memory and not many_shapes"

# Most of the time goes into compiling small models, which one core does at a time.
IN_TWO = --numprocesses 2 --dist loadfile
PYTEST = $(BIN)/python -m pytest $(IN_TWO)

# With COVERAGE=1 the tests add the branches that they take to those of the tests before.
ifdef COVERAGE
PYTEST += --cov --cov-append --cov-report=
endif

.PHONY: demo test test-real test-slow test-backends test-lowest test-mutations coverage \
	test-keras lint

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
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(PYTEST) $(LAYER_TESTS) $(ONNX_TESTS)
	$(PYTEST) $(ONNX_TESTS)

# The lowest versions of jax and torch are those of test-backends.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest $(IN_TWO) $(LOWEST_TESTS)

# Wrong equations, one at a time: the tests must notice each.
test-mutations: $(VENV)/.backends
	$(BIN)/python -m tests.mutations
	KERAS_BACKEND=jax $(BIN)/python -m tests.mutations

# Keras's own tests of its LSTM, on ours.
test-keras: $(VENV)/.backends
	$(BIN)/python -m tests.keras_tests
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=true $(BIN)/python -m tests.keras_tests
	KERAS_BACKEND=torch $(BIN)/python -m tests.keras_tests

coverage: $(VENV)/.installed
	$(BIN)/python -m coverage report --fail-under=95

lint: $(VENV)/.installed
	$(PIP) install ruff mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): TensorFlow takes a minute or two ..."
	$(PIP) install --editable '.[test]'
	touch $@

# Of each "name>=version" in setup.cfg this very version.
$(LOWEST)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	sed -n 's/^    \(.*\)>=/\1==/p' setup.cfg > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip $(QUIETLY) install --editable '.[test]' \
		--constraint $(LOWEST)/lowest.txt
	touch $@

# One version of torch, so that a CPU build that pip finds is not passed over for a
# newer one with gigabytes of CUDA.
$(VENV)/.backends: $(VENV)/.installed
	$(PIP) install --editable '.[jax,torch,onnx]' torch==2.13.0
	touch $@
