# Everything a developer or a user types. The virtual environment is in .venv; see scripts/setup.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
CODE := kubelet cri cgroups probes kube aio pykubelet scripts tests $(wildcard cni systemd controlplane bench)

.PHONY: help setup up down check lint types test bench proto clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## the virtual environment
	@scripts/setup

up: ## a cluster of one node, with what it needs
	@scripts/setup up
	@.venv/bin/pykubelet up

down: ## stop it and leave nothing running
	@scripts/setup
	@.venv/bin/pykubelet down

check: setup lint types ## lint, types, layers and the fast tests
	@$(PYTHON) -m pytest -q -n 2 tests/test_layers.py tests/unit tests/sim

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: setup
	@.venv/bin/mypy $(CODE)

test: ## everything this host can run, counted against tests/counts.toml
	@scripts/setup test
	@$(PYTHON) -m pytest --counts

bench: ## the figures of bench/RESULTS.md, as root
	@scripts/setup test
	@$(PYTHON) -m bench

proto: setup ## generated CRI messages, from cri/api.proto
	@$(PYTHON) -m scripts.generate_proto

clean: ## caches and build products, not the virtual environment
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
