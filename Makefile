# Two commands matter: `make book` and `make test`. `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= tiny
# seeds: whole numbers split by commas; "all" is the profile's
SEEDS ?= all
CORES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")
# runs of profile paper at once: one a GPU, on a CPU one
GPUS ?= $(shell n=$$(nvidia-smi --list-gpus 2>/dev/null | grep -c .); echo $$((n > 0 ? n : 1)))
# what make wheels asks for; three packages come as sources, one of them in C
PYTHONS := 3.11 3.12 3.13 3.14
SYSTEMS := x86_64-manylinux_2_28 aarch64-apple-darwin
BUILT := --no-binary connection-pool --no-binary immutables --no-binary scour
# where the grid runs, a folder of profiles/: on this machine, or as jobs of Slurm
ON ?= machine
LIMITS_machine = --cores $(CORES) --resources gpu=$(GPUS)
# one run uses one thread; the grid runs as many at once as there are cores
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup book grid site pdf test slow lint bench faults records bundle package lock wheels audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done ## build the environment from requirements.lock

$(VENV)/.done: requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	@# compiled here, once: else each new process compiles torch anew wherever PYTHONDONTWRITEBYTECODE is set
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

book: grid site pdf ## run what is not done yet, then build site and PDF

grid: setup ## run every experiment of PROFILE (default tiny) and SEEDS that is not done; DRY=1 says what that takes
	$(BIN)/snakemake --profile profiles/$(ON) $(LIMITS_$(ON)) $(if $(DRY),--dry-run) --config profile=$(PROFILE) seeds=$(SEEDS)

site: setup ## build the site of PROFILE in _build/html
	SUBMASKING_PROFILE=$(PROFILE) $(BIN)/jupyter-book build book/ -W --keep-going --quiet
	@echo "The site: _build/html/index.html"

pdf: setup ## build the PDF of PROFILE, where LaTeX is installed
	SUBMASKING_PROFILE=$(PROFILE) $(BIN)/python book/pdf.py

test: setup ## run the tests
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

slow: setup ## run the tests that take minutes, among them the library without its extras
	$(BIN)/python -m pytest -m slow

lint: setup ## ruff, mypy, who may import whom, and the workflows of GitHub
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet .github

bench: setup ## measure and store the tables of benchmarks/
	$(BIN)/python -m benchmarks

faults: setup ## kill, fill, cut off and misuse: is anything lost or silently wrong (half an hour)
	$(MAKE) grid PROFILE=smoke
	$(BIN)/python -m benchmarks faults kills mishaps

records: setup ## keep this machine's tiny results as the records that the project ships
	$(BIN)/python -m submasking.experiments.keep

bundle: setup ## pack source, results and book with checksums into one archive, as for Zenodo
	$(BIN)/python book/bundle.py

package: setup ## build the package that is published, in dist/, and look whether an index takes it
	rm -rf dist
	$(BIN)/uv build --quiet
	$(BIN)/uv tool run twine@7.0.0 check --strict dist/*

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras --quiet pyproject.toml -o requirements.lock

wheels: setup ## look whether a wheel of all that is locked is there for other Pythons and systems
	@for python in $(PYTHONS); do for system in $(SYSTEMS); do \
	  MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip compile --quiet --no-deps --only-binary :all: $(BUILT) \
	    --python-version $$python --python-platform $$system requirements.lock --output-file /dev/null \
	    && echo "Python $$python, $$system: all there" || exit 1; done; done

audit: setup ## look whether a fault is known of what is locked
	$(BIN)/uv tool run pip-audit@2.10.1 --requirement requirements.lock --disable-pip --no-deps

clean: ## delete what was built; results and the environment stay
	rm -rf dist _build book/_build book/notebooks .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
