# make demo, make test: each does all its own set-up on a fresh machine.

PYTHON3 ?= python3
BIN := .venv/bin
READY := .venv/.ready
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-slow check clean

demo: $(READY)
	$(BIN)/python run.py method=differ dataset=synthetic
	$(BIN)/python run.py report

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_architecture.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ccreid-bench needs Python 3.11 or newer: make PYTHON3=python3.12 …")'
	$(PYTHON3) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev,wandb,tensorboard,postgresql,slurm]'
	touch $(READY)

clean:
	rm -rf .venv cache *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
