# make demo: run the bundled model, draw docs/figures/chain.png
# make test: run the tests (TESTS=folder: those)    make lint: style, types, import contracts
# make docs: the documentation site in build/site, warnings are errors
# make package: wheel and sdist, the wheel tried in an environment of its own
# make coverage: which lines and branches the unit tests reach (they take half as long again)
# make benchmark: time chains and boxes beside MD; with BOX=folder (LAMMPS files) the published size, too
# All of them set up their own environment in .venv first, once.

VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := torch==2.13.0 # of the tests: the CPU build where offered, else CUDA
RANGE  := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
# Small systems run fastest on one thread (set it to more for large ones).
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test coverage lint format clean benchmark docs package

help:
	@sed -n 's/^# //p' $(MAKEFILE_LIST) | head -7

demo: $(VENV)/.runtime
	@$(BIN)/python examples/demo.py --figure docs/figures/chain.png

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist loadfile -q $(TESTS)

coverage: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist loadfile -q --cov --cov-report=term $(or $(TESTS),tests/unit)

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

# the wheel is built from the sdist; the commands are those of docs/README.md
package: $(VENV)/.dev
	@rm -rf dist build/fresh build/empty && mkdir -p build/empty
	@$(BIN)/python -m build --outdir dist . >build/package.log || { cat build/package.log; exit 1; }
	@$(BIN)/python -m venv build/fresh
	@build/fresh/bin/python -m pip install --quiet $(TORCH) dist/*.whl
	@cd build/empty && PATH="$$PWD/../fresh/bin:$$PATH" && cgml --version && \
	    cgml -q examples && \
	    cgml -q run copolymer-chain examples/data/chains.npz --time 400 --output long && \
	    cgml -q view long && \
	    cgml -q evaluate copolymer-chain --reference examples/data/chains.npz \
	        --output judged --time 400 && ls long judged
	@rm -rf build/fresh

benchmark: $(VENV)/.runtime
	@$(BIN)/python benchmarks/chains.py
	@$(BIN)/python benchmarks/electrolyte.py
	@if [ -n "$(BOX)" ]; then $(BIN)/python benchmarks/published.py "$(BOX)"; fi

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage demo

$(VENV)/.python:
	@python=$$(for name in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if "$$name" -c '$(RANGE)' 2>/dev/null; then echo "$$name"; break; fi; done); \
	if [ -z "$$python" ]; then \
	    echo "cgml needs Python 3.11, 3.12 or 3.13, found:" \
	        "$$(python3 --version 2>/dev/null || echo no python3):" \
	        "install one, or name it: make demo PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	@touch $@

# torch first: everything else is then resolved around this one build
$(VENV)/.runtime: $(VENV)/.python pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet $(TORCH)
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@
