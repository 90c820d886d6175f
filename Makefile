# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install demo test quality speed clean

install: $(STAMP)

# A torch that is already there is kept; otherwise the CPU build is taken (CNAS_TORCH overrides it).
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$${CNAS_TORCH:-torch==2.13.0}"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

demo: install
	@$(BIN)/python recipes/demo.py

test: install
	@$(MAKE) --no-print-directory quality
	$(BIN)/python -m pytest

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Benchmarks: run by hand on an idle machine, never part of the suite.
speed: install
	$(BIN)/python tests/speed/enas_rnn.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
