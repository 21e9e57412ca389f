# `make help` lists the targets. Everything is installed into .venv, which a
# target sets up by itself and renews when setup.cfg, pyproject.toml or
# constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin

# The first of these that runs and is a Python the package supports.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 \
	python3.10 python; do \
	if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] \
	<= (3, 13))' >/dev/null 2>&1; then echo $$python; break; fi; done)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet \
	--disable-pip-version-check --prefer-binary

# Each worker takes neighbours, which share what a module trains or exports,
# and helps the other at the end.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal

# What runs on every backend; the other tests need TensorFlow.
BACKEND_TESTS = tests/functional tests/layers tests/models \
	tests/decoding/test_sampling.py tests/decoding/test_scoring.py \
	tests/test_masks.py

# Scripts of benchmarks/, without the modules that they share.
BENCHMARKS := $(filter-out %/measure.py %/sequence_models.py \
	%/decoding_peers.py,$(sort $(wildcard benchmarks/*.py)))

export TF_CPP_MIN_LOG_LEVEL ?= 2

.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-versions soak notebooks docs lint format \
	bench clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / \
		{ printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## Train spelling to phonemes, export, serve, plot
	$(BIN)/python -m keras_attention.examples.g2p --output saved_models/demo

# Of a test with many options the gate has so many cases that each value occurs.
test: SELECTED := -m "not exhaustive" --cover 1
# On JAX the gate has the functions, of each layer the checks that all layers
# pass and its steps, and one test of each part of a model. It leaves out those
# that Keras ships, and what tries many shapes, each of which JAX compiles.
test: LEFT_OUT := --ignore tests/layers/test_keras_multi_head_attention.py \
	-k "(functional or checks or good or step or layouts) \
	and not (agree or no_queries or shared_numbers)"
test: BACKEND_TESTS := tests/functional tests/layers \
	tests/models/test_encoders.py::test_encoder_is_a_good_layer \
	tests/models/test_decoders.py::test_decoder_is_a_good_layer \
	tests/models/test_decoders.py::test_step_by_step_is_teacher_forcing \
	tests/models/test_layouts.py
# XLA compiles without optimizing, and by its older emitters: what compiles much
# takes 40% less time.
test: XLA_FLAGS := XLA_FLAGS="--xla_backend_optimization_level=0 \
	--xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false"
test: test-all  ## Lint, then the tests on TensorFlow and on JAX

test-all: lint  ## The same with every notebook, page and combination
	@echo "== Tests and docstring examples, TensorFlow backend"
	KERAS_BACKEND=tensorflow $(XLA_FLAGS) $(PYTEST) $(SELECTED)
	@echo "== Tests of what runs on every backend, JAX backend"
	KERAS_BACKEND=jax $(XLA_FLAGS) $(PYTEST) $(SELECTED) $(LEFT_OUT) \
		$(BACKEND_TESTS)

test-versions: $(VENV)/test.stamp  ## Core tests, other Pythons and versions
	$(BIN)/python .ci/versions.py $(ONLY)

soak: $(VENV)/test.stamp  ## Every crash, damage, kind of text, and a server under load
	KERAS_BACKEND=tensorflow $(PYTEST) -m soak -o faulthandler_timeout=0

notebooks: $(VENV)/notebooks.stamp  ## Run every notebook: ten minutes
	KERAS_BACKEND=tensorflow $(PYTEST) tests/test_notebooks.py

lint: $(VENV)/test.stamp  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/test.stamp  ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs.stamp  ## Build the site; quicker with NOTEBOOKS=off
	$(BIN)/python -m sphinx -q -W --keep-going -c docs \
		-d docs/_build/doctrees . docs/_build/html
	@echo "Wrote docs/_build/html/index.html"

bench: $(VENV)/benchmarks.stamp  ## Run every script of benchmarks/
	@set -e; for script in $(BENCHMARKS); do \
		echo "== $$script"; $(BIN)/python $$script; done

clean:  ## Remove .venv, caches and what `make demo` wrote
	rm -rf $(VENV) .venv-versions build dist *.egg-info saved_models/demo \
		docs/_build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that was moved or cut short does not start: it is made anew.
$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "No Python 3.10 to 3.13 found: install one, or name it as in" \
			"'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'." >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: EXTRAS := examples,plots
$(VENV)/test.stamp: EXTRAS := test
$(VENV)/notebooks.stamp: EXTRAS := test,notebooks
$(VENV)/docs.stamp: EXTRAS := docs,notebooks
$(VENV)/benchmarks.stamp: EXTRAS := benchmarks

$(VENV)/%.stamp: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing .[$(EXTRAS)] into $(VENV)" \
		"(about a minute: TensorFlow is large)"
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@
