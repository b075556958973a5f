# make demo and make test set up everything they need in .venv; nothing outside this folder changes.
PYTHON ?= python3
TORCH ?= torch==2.13.0
OUTPUT ?= out/demo
BIN := .venv/bin

.PHONY: demo test test-comfyui lint clean

# In a real ComfyUI where one is found; with PHOTOS or QUALITY given, the library alone.
demo: .venv/.runtime
	@$(BIN)/python tools/demo.py --output $(OUTPUT) \
		$(if $(PHOTOS),--photos $(PHOTOS)) $(if $(QUALITY),--quality $(QUALITY))

# Up to four workers, each of which takes up to 1 GB; an idle one takes over another's tests.
# QUICK=1 leaves out the tests marked slow. Kernels are compiled before, once for all workers.
test: .venv/.dev
	$(BIN)/python tools/compile_kernels.py
	$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal \
		-m "not comfyui$(if $(QUICK), and not slow)"
	@echo "Done. What each test proves stands in tests/, one folder per folder of reconx/."

# Skips, and says so, where no ComfyUI is found. One at a time: a host takes all processors, and how
# fast it cancels is tested.
test-comfyui: .venv/.dev
	$(BIN)/python -m pytest -q -rs -m "comfyui$(if $(QUICK), and not slow)"

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# A torch that the interpreter already has is used as it is; else the pinned one is installed.
.venv/.runtime: requirements.txt pyproject.toml Makefile
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "$(PYTHON) is older than 3.11; run make PYTHON=python3.12 or newer"; exit 1; }
	$(PYTHON) -m venv $$($(PYTHON) -c "import torch" 2>/dev/null && echo --system-site-packages) .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q "$(TORCH)"
	$(BIN)/pip install -q -e . av
	@touch $@

.venv/.dev: .venv/.runtime
	$(BIN)/pip install -q -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv out build *.egg-info
