# `make demo` and `make test` do all set-up themselves, in a virtual environment of their own.
PYTHON ?= python3
TRANSFORMERS ?= 5.24.0
VENV ?= .venv-$(TRANSFORMERS)
BIN = $(VENV)/bin
READY = $(VENV)/.ready
SOURCES = $(shell find csrc -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.h')

.PHONY: demo test lint types format install clean

demo: $(READY)
	$(BIN)/rlivs demo

# A thread a worker: more would wait for each other's cores.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(SOURCES)

install: $(READY)

# torch comes first and pinned, so that nothing else can bring in another build of it.
$(READY): pyproject.toml constraints.txt setup.py $(SOURCES)
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('Python 3.11 or later is needed, and $(PYTHON) is ' \
	    + sys.version.split()[0] + ': name another one, as in make PYTHON=python3.12 $(MAKECMDGOALS)')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0 transformers==$(TRANSFORMERS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench,serve]"
	touch $@

clean:
	rm -rf .venv-* build dist rlivs-demo
