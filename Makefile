# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A torch that is already in .venv is kept; CNAS_TORCH asks pip for another one.
CNAS_TORCH ?= torch==2.13.0
# Errors are shown; what pip says about its own configuration is not.
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: install demo test test-long quality docs speed clean

install: $(STAMP)

$(STAMP): pyproject.toml .ci/tested.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) must be Python 3.11 or newer; e.g. make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "setting up $(VENV); the first time this takes a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) "$(CNAS_TORCH)"
	@$(PIP) -c .ci/tested.txt -e ".[dev]"
	@touch $@

demo: install
	@$(BIN)/python recipes/demo.py

# Lint and types first, then the suite in any case: one call shows all there is to mend. Two files at a time, in their order: by
# number of tests, long files with few of them would come last, one after the other.
test: install
	@status=0; $(MAKE) --no-print-directory quality || status=$$?; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder || status=$$?; exit $$status

# The same faults more often, and a hundred whole runs: some two hours; what is measured lands in build/reliability.jsonl. Then the
# whole crosses of options of which make test runs a pairwise choice.
test-long: install
	@mkdir -p build && rm -f build/reliability.jsonl
	@status=0; \
	$(BIN)/python -m pytest tests/reliability -n 2 --dist loadfile --long --figures build/reliability.jsonl || status=$$?; \
	$(BIN)/python -m pytest tests --ignore=tests/reliability -m cross -n 2 --dist loadfile --long || status=$$?; exit $$status

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Warnings are errors: a dead link, a missing anchor, a public name that is nowhere described.
docs: install
	$(BIN)/python -m pytest -q tests/test_api_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Benchmarks: run by hand on an idle machine, never part of the suite.
speed: install
	$(BIN)/python tests/speed/enas_rnn.py
	$(BIN)/python tests/speed/darts_rnn.py
	$(BIN)/python tests/speed/plain.py
	$(BIN)/python tests/speed/k_best.py
	$(BIN)/python tests/speed/gpt.py
	$(BIN)/python tests/speed/nats.py
	$(BIN)/python tests/speed/gpu.py

# Runs are kept: they are results.
clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist site *.egg-info
