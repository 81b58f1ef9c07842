# `make demo` and `make test` do everything on a fresh Debian or Ubuntu machine that has git, make and
# Python with venv. `make help` lists the rest.

VENV ?= .venv
# More arguments for pip, such as: make test PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# More arguments for pytest, such as: make test PYTEST_ARGS="tests/imaging -x"
PYTEST_ARGS ?=
# One process a core, with a virtual display and at most 2 GB of memory each
PYTEST_PROCESSES ?= --numprocesses=auto --maxprocesses=4 --dist=worksteal
DEMO_OUT ?= demo-output

BIN := $(VENV)/bin
PYTHON_IN_VENV := $(BIN)/python
# What is installed depends on these files only; a newer one means that pip has to look again.
STAMP := $(VENV)/.installed

# Whoever has chosen a Qt binding keeps it; otherwise the one that we install.
export QT_API ?= pyside6
export PYTEST_QT_API ?= $(QT_API)
# Small networks on small images: with one thread each test is several times quicker than with two.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check lint types floors manifest workflow docs screenshots variants format lock clean install system

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: system $(STAMP)  ## Segment a real image in napari; leaves masks, table and screenshot in demo-output/
	sh scripts/demo.sh $(PYTHON_IN_VENV) $(DEMO_OUT)

test: system $(STAMP)  ## Run the tests (about 20 minutes on two cores)
	$(PYTHON_IN_VENV) -m pytest $(PYTEST_PROCESSES) $(PYTEST_ARGS)

test-all: system $(STAMP)  ## Run the slow tests too, and those for a GPU where there is one
	$(PYTHON_IN_VENV) -m pytest -m "" -o faulthandler_timeout=3600 $(PYTEST_PROCESSES) $(PYTEST_ARGS)

check: lint types floors manifest workflow docs  ## Run every check but the tests

lint: $(STAMP)  ## Style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

types: $(STAMP)  ## Types, strictly
	$(BIN)/mypy

floors: $(STAMP)  ## Who may import whom
	$(BIN)/lint-imports

manifest: $(STAMP)  ## The napari plugin manifest, and everything that it names
	QT_QPA_PLATFORM=offscreen $(BIN)/npe2 validate napari-unet --imports

workflow: $(STAMP)  ## The GitHub Actions workflow, against its schema
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: $(STAMP)  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: system $(STAMP)  ## Draw the pictures of the documentation again
	xvfb-run -a -s "-screen 0 1600x1200x24" $(PYTHON_IN_VENV) scripts/screenshots.py

variants: $(STAMP)  ## Write the page of all variants, and their pictures, again
	$(PYTHON_IN_VENV) scripts/variant_page.py

format: $(STAMP)  ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock:  ## Write constraints.txt anew, with the newest versions
	PIP_ARGS="$(PIP_ARGS)" sh scripts/lock.sh

clean:  ## Remove the environment and everything that was built
	rm -rf $(VENV) $(DEMO_OUT) build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

install: $(STAMP)  ## Make .venv and install napari-unet into it, editable

system:
	@sh scripts/system_packages.sh

$(STAMP): pyproject.toml constraints.txt
	sh scripts/install.sh $(VENV) "$(PIP_ARGS)"
	@touch $@
