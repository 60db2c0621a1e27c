# The two commands of this project are `make study` and `make test`; `make help` lists the rest.
# All paths are relative: the project's own path may hold spaces.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.installed

# Choices, given as `make study PROFILE=smoke`:
PROFILE ?= mini
JOBS ?= 2
RUN ?= data/mini
TEST_JOBS ?= 2
RUN ?= data/mini
ARGS ?=
PIP_ARGS ?=
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-assets study paper test docs parameters stages lint format notebooks lock clean clean-explore distclean

help: ## show this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'PROFILE=NAME       profile of `make study`: mini (default), smoke, real, paper'
	@echo 'JOBS=N             stages that run side by side in `make study`'
	@echo 'TEST_JOBS=N        tests that run side by side in `make test` (2)'
	@echo 'ARGS="..."         more arguments of `esiamfc run`, or of pytest in `make test`'
	@echo 'RUN=FOLDER         the run whose executed notebooks `make docs` shows: data/mini (default)'
	@echo 'PYTHON=PATH        the Python, 3.11 or newer, that the environment is made with'
	@echo 'PIP_ARGS="..."     more arguments of pip install, for example another package index'

install: $(READY) ## create .venv and install the study into it

$(READY): pyproject.toml requirements.lock tools/install.sh
	@PYTHON="$(PYTHON)" PIP_ARGS="$(PIP_ARGS)" sh tools/install.sh "$(VENV)"

demo: $(READY) ## track objects in a shipped clip, into data/demo; seconds, no data, no training
	@$(PY) -m esiamfc_lib.cli demo --out data/demo

demo-assets: $(READY) ## make the demo's ensemble, clip and picture anew, after `make study`
	@PYTHONPATH=. $(PY) tools/demo.py

study: $(READY) ## run the study: what changed since the last time
	@$(PY) -m esiamfc_lib.cli run --profile $(PROFILE) -n $(JOBS) $(ARGS)

paper: $(READY) ## build reports/paper/paper.pdf from the committed reports (needs LaTeX)
	@PYTHONPATH=. $(PY) tools/paper.py

# In the order of the files: the run of the whole chain, the longest of all, is among the first.
test: $(READY) ## run the tests, TEST_JOBS of them side by side
	@$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

docs: $(READY) ## build the documentation as a site, notebooks as RUN executed them
	@PYTHONPATH=. $(PY) tools/site.py --run $(RUN)

parameters: $(READY) ## print the notebooks' parameters cells and mini.yaml from config.py
	@PYTHONPATH=. $(PY) tools/parameters.py

stages: $(READY) ## print the table of which stage uses which module of the library
	@PYTHONPATH=.:tests $(PY) tests/chain/test_stale.py

lint: $(READY) ## check style, and that no notebook holds outputs
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb

format: $(READY) ## format the code and strip the notebooks
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) -m nbstripout notebooks/*.ipynb

notebooks: $(READY) ## open the notebooks in JupyterLab
	@$(PY) -m jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

lock: ## write requirements.lock anew from the newest versions that pyproject.toml allows
	@PYTHON="$(PYTHON)" PIP_ARGS="$(PIP_ARGS)" LOCK=new sh tools/install.sh "$(VENV)"

clean: ## remove everything that a run built under data/ (all but data/raw), and caches
	@find data -mindepth 1 -maxdepth 1 ! -name README.md ! -name raw -exec rm -rf {} +
	@rm -rf .pytest_cache .ruff_cache build dist *.egg-info

clean-explore: ## remove what notebooks run by hand have written: the folders data/*.explore
	@rm -rf data/*.explore

distclean: clean ## and the environment as well
	@rm -rf $(VENV)
