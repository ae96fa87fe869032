# `make demo` and `make test` need nothing but Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip $(QUIETLY)
QUIETLY = --disable-pip-version-check --quiet
# Another environment, with the lowest versions that setup.cfg allows.
LOWEST ?= .venv-lowest

# What runs on every backend.
BACKEND_TESTS = tests/lstm_keras/test_reference.py tests/lstm_keras/test_cell.py \
	tests/lstm_keras/test_layer.py tests/lstm_keras/test_layer_options.py \
	tests/lstm_keras/test_call_arguments.py tests/lstm_keras/test_leaks.py \
	tests/lstm_keras/test_pooling.py tests/lstm_keras/test_variants.py \
	tests/lstm_keras/test_testing.py tests/experiments/test_objective.py \
	tests/lstm_keras/engines \
	tests/lstm_keras/interpret tests/lstm_keras/convert \
	tests/lstm_keras/language_model tests/experiments/common/test_fit.py \
	tests/experiments/test_pretraining.py \
	tests/experiments/common/test_data_parallel.py

# They need the extra onnx, and skip without it.
ONNX_TESTS = tests/lstm_keras/test_onnx_export.py

# What tells most about a version: equality with its Keras, scores, figures, and an
# experiment; not how much memory a training run takes, which depends on TensorFlow.
LOWEST_TESTS = tests/lstm_keras/test_cell.py tests/lstm_keras/test_layer.py \
	tests/lstm_keras/engines tests/lstm_keras/evaluation tests/lstm_keras/plots \
	tests/experiments/common/test_processes.py tests/experiments/test_imdb_sentiment.py \
	tests/experiments/test_summarise.py

# Most of the time goes into compiling small models, which one core does at a time. The
# tests of experiments come first: some of them take minutes, and would be left over.
IN_TWO = --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTEST = $(BIN)/python -m pytest $(IN_TWO)
THOROUGH = -m "not slow and not real" --hypothesis-profile=thorough

# With COVERAGE=1 the tests add the branches that they take to those of the tests before.
ifdef COVERAGE
PYTEST += --cov --cov-append --cov-report=
endif

# The lessons are run when they have changed.
LESSONS = $(patsubst experiments/notebooks/%.md,build/lessons/%.ipynb,\
	$(wildcard experiments/notebooks/*.md))

.PHONY: demo docs test test-all test-thorough test-experiments test-coverage \
	test-backends test-keras test-mutations test-lowest test-real test-slow \
	test-commands test-commands-short coverage lint

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.imdb_sentiment --data embedded \
		--recipe embedded --name demo --overwrite

# Minutes, on TensorFlow.
test: $(VENV)/.installed
	$(PYTEST)

# What CI runs: three quarters of an hour. LSTM_KERAS_DATA adds the real data.
test-all:
	$(MAKE) test-thorough test-backends
	$(MAKE) test-keras test-mutations test-lowest test-commands-short
	if [ -n "$$LSTM_KERAS_DATA" ]; then $(MAKE) test-real; fi

# All tests of the library, and those of the experiments that take seconds.
test-thorough: $(VENV)/.backends
	$(PYTEST) tests/experiments
	$(PYTEST) $(THOROUGH) tests --ignore tests/experiments

# Half an hour more: processes that are killed at random, browsers, whole trainings.
test-experiments: $(VENV)/.backends
	$(PYTEST) $(THOROUGH) tests/experiments

# The branches that all of these take together.
test-coverage:
	rm -f .coverage
	$(MAKE) COVERAGE=1 test-thorough test-experiments test-backends coverage

# Most of JAX's time goes into compiling many small models; plain code will do here.
# The threads of two torch processes would wait for each other.
test-backends: $(VENV)/.backends
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=true \
		$(PYTEST) $(THOROUGH) $(BACKEND_TESTS)
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 \
		$(PYTEST) $(THOROUGH) $(BACKEND_TESTS) $(ONNX_TESTS)

# Keras's own tests of its LSTM, on ours.
test-keras: $(VENV)/.backends
	$(BIN)/python -m tests.keras_tests
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=true $(BIN)/python -m tests.keras_tests
	KERAS_BACKEND=torch $(BIN)/python -m tests.keras_tests

# Wrong equations, one at a time: the tests must notice each.
test-mutations: $(VENV)/.backends
	$(BIN)/python -m tests.mutations
	KERAS_BACKEND=jax $(BIN)/python -m tests.mutations

# The lowest versions of jax and torch are those of test-backends.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest $(IN_TWO) $(LOWEST_TESTS)

# The reduced run on real reviews; LSTM_KERAS_DATA names the folder that holds them.
test-real: $(VENV)/.installed
	$(BIN)/python -m pytest -m real

# Every command of experiments/README.md, for an hour and a half.
test-commands: $(VENV)/.installed
	$(BIN)/python -m tests.commands --timed

# Those of them that take no more than a minute.
test-commands-short: $(VENV)/.installed
	$(BIN)/python -m tests.commands --longest 1

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

# The site of documentation, to be opened as site/index.html.
docs: $(VENV)/.docs $(LESSONS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

build/lessons/%.ipynb: experiments/notebooks/%.md $(VENV)/.docs
	mkdir -p $(@D)
	$(BIN)/jupytext --quiet --to ipynb --execute --run-path $(<D) --output $@ $<

coverage: $(VENV)/.installed
	$(BIN)/python -m coverage report --fail-under=95

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) install --editable '.[docs]'
	touch $@

lint: $(VENV)/.installed
	$(PIP) install ruff mypy import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

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
	$(PIP) install --editable '.[jax,torch,onnx,playground,ray,docs]' torch==2.13.0
	touch $@
