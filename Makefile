# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need Python 3.11+, Node 20+ and the package registries, nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup chromium servers demo test lint types js unit bench sim kernel compare soak clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

node_modules/.ready: package.json package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "Node 20 or newer is needed"; exit 1; }
	npm ci --silent
	@touch $@

setup: $(VENV)/.ready node_modules/.ready ## install what the project needs into this folder

chromium:
	@scripts/ensure_chromium.sh

servers: ## install the TLS servers that tests talk to (OpenSSL, GnuTLS, NSS, nginx), or name what is missing
	@scripts/ensure_tls_servers.sh

demo: setup ## run the local network and the playground, and print its address
	$(BIN)/smolmix-web demo

test: setup chromium servers lint types js unit ## run every test (installs Chromium where no browser is found)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

js: setup
	npm run --silent check

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench: setup chromium ## print the benchmark tables (CPython and headless Chromium)
	$(BIN)/python -m bench

compare: setup chromium ## our client beside Nym's official one (ARGS="--rounds 1 --modes 2" for a part)
	$(BIN)/python -m bench.compare $(ARGS)

sim: setup ## rewrite the TCP simulator's tables in tests/sim/snapshots, and run 1,000 random transfers
	$(BIN)/python bench/tcp_simulator.py --write
	$(BIN)/python bench/tcp_simulator.py --seeds 1000

kernel: setup ## 64 MB each way between our TCP and the Linux kernel's, over good and faulty links (root)
	SMOLMIX_NET_FULL=1 $(BIN)/python -m pytest -v tests/interop/test_net_kernel.py

soak: setup ## 30 minutes of mixed traffic over a network that keeps breaking (MINUTES=n for another length)
	$(BIN)/python bench/soak.py --minutes $(or $(MINUTES),30)

clean: ## remove everything that the other commands made
	rm -rf $(VENV) node_modules build dist assets .pytest_cache .mypy_cache .ruff_cache .hypothesis
