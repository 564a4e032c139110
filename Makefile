# Two commands for a new user: make demo, make test. All need git, make and Python >= 3.11 only.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTHONS ?= python3.11 python3.12 python3.13 python3.14
FUZZ ?= 3000
CHAOS ?= 60
PARALLEL := -n logical --dist worksteal
# Bytecode is made as modules are imported: most of what torch brings never is.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable

# Machines without a C++ compiler get one as a package: without any, the network takes ten times as long.
COMPILER := $(if $(shell command -v "$${CXX:-c++}" || command -v g++ || command -v clang++),,[compiler])

.PHONY: demo test test-slow test-gpu lint check browser docs wheels release-check fuzz chaos format bench clean

demo: $(VENV)/.ready
	$(BIN)/fnet fuse --vis examples/night-street/vis.png --ir examples/night-street/ir.png -o demo-out
	@echo "Fused picture:        demo-out/fused/vis.png"
	@echo "Unique, common maps:  demo-out/unique_ir, demo-out/unique_vis, demo-out/common"

test: $(VENV)/.ready-test
	$(BIN)/pytest $(PARALLEL)

test-slow: $(VENV)/.ready-test
	$(BIN)/pytest -m long

test-gpu: $(VENV)/.ready-test
	$(BIN)/pytest -m gpu -rs

lint: $(VENV)/.ready-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: test lint

browser: $(VENV)/.ready-browser
	$(BIN)/pytest tests/browser $(PARALLEL) -rs

docs: $(VENV)/.ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python docs/check_site.py site
	@echo "The site: site/index.html"

# dist/: the source, a pure wheel, and wheels with kernels for this machine's kind and for Arm.
wheels: $(VENV)/.ready-release
	$(BIN)/python release/build.py dist

release-check: $(VENV)/.ready-release
	$(BIN)/python release/check.py dist --pythons "$(PYTHONS)"

fuzz: $(VENV)/.ready-test
	$(BIN)/python -m tests.fuzz --count $(FUZZ)

chaos: $(VENV)/.ready-test
	$(BIN)/python -m tests.chaos --seconds $(CHAOS)

format: $(VENV)/.ready-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready
	$(BIN)/python -m bench.forward
	$(BIN)/python -m bench.models
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.process
	$(BIN)/python -m bench.batch
	$(BIN)/python -m bench.metrics

clean:
	rm -rf $(VENV) demo-out fnet-out fuzz-out dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fnet needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) '.$(COMPILER)'
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(INSTALL) '.[test]'
	@touch $@

$(VENV)/.ready-check: $(VENV)/.ready-test
	$(INSTALL) '.[test,check]'
	@touch $@

$(VENV)/.ready-browser: $(VENV)/.ready-check
	$(INSTALL) '.[test,check,browser]'
	@touch $@

$(VENV)/.ready-docs: $(VENV)/.ready
	$(INSTALL) '.[docs]'
	@touch $@

$(VENV)/.ready-release: $(VENV)/.ready
	$(INSTALL) '.[release]'
	@touch $@
