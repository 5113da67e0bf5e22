# What a developer types. `make` alone lists it. Everything lives in this folder: .venv, .data, node_modules.
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
PYTHON_STAMP := .venv/.installed
NODE_STAMP := indexer/devchain/node_modules/.installed
CLIENTS_STAMP := tests/clients/node_modules/.installed
TEST_POSTGRES := $(or $(TEST_POSTGRES_DIR),.data/test-postgres)
CHECK_POSTGRES := .data/check-postgres

.DEFAULT_GOAL := help

ifneq ($(words $(CURDIR)),1)
$(error "$(CURDIR)" has a space in it, and the embedded PostgreSQL can't start there: move the folder)
endif

.PHONY: help install run stop reset test faults cluster fuzz-api bench bench-api bench-ws lint format check check-deploy audit

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(PYTHON_STAMP) $(NODE_STAMP) $(CLIENTS_STAMP) ## set up .venv and the development chain; skips what is there

run: install ## database, chain, bots, indexer and web server together, until Ctrl-C
	@exec $(VENV_PYTHON) -m aurum.devstack

stop: install ## end a `make run` of another terminal, or what a killed one left behind
	@$(VENV_PYTHON) -m aurum.devstack stop
	@$(VENV_PYTHON) -m aurum.embedded_postgres stop "$(TEST_POSTGRES)"

reset: stop ## delete the development chain and the embedded database; the next `make run` starts anew
	rm -rf .data/devchain .data/devchain.env .data/postgres

# Each worker has a test database of its own. The trap lets Ctrl-C end pytest and still reach the line that stops the server.
test: WORKERS ?= 2
test: install ## run the tests; ARGS="-k prices -x" goes to pytest
	@trap : INT; $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(ARGS); code=$$?; \
	$(VENV_PYTHON) -m aurum.embedded_postgres stop "$(TEST_POSTGRES)"; exit $$code

# mypy's Django plugin loads the settings, which would start the embedded database.
# Failing nodes, replaced branches and crashes, by seed; a seed that fails is named, and repeats the same.
faults: install ## simulate failing nodes and crashes; SEEDS=1000 for more than CI does, SEED=47 for one again
	@SEEDS=$(SEEDS) SEED=$(SEED) $(MAKE) --no-print-directory test \
	ARGS="$(if $(SEED),tests/faults/test_simulation.py::test_simulation,tests/faults) $(ARGS)"

cluster: SEEDS ?= 1
cluster: install ## two web servers, a replica, Valkey and two indexers, each of which dies once; SEEDS=5 for more
	@CLUSTER_SEEDS=$(SEEDS) $(MAKE) --no-print-directory test ARGS="tests/faults/test_cluster.py $(ARGS)"

fuzz-api: CASES ?= 200
fuzz-api: install ## ask the API what its document allows and forbids; CASES=1000 for an operation, SEED=7 for other ones
	@CASES=$(CASES) SEED=$(SEED) $(MAKE) --no-print-directory test ARGS="tests/documents/test_fuzz.py $(ARGS)"

# A chain is generated once for each size, and kept in .data/bench. Nothing else should be busy meanwhile.
bench: LOGS ?= 200000
bench: install ## what the indexer costs, and its latency; LOGS="200000 1000000" compares the two, LOGS= skips them
	@exec $(VENV_PYTHON) -m tests.bench $(LOGS)

# Express is installed for it alone.
bench-api: install ## what the API costs beside a plain Express server, and with ten times the events
	cd tests/bench/api/express && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@exec $(VENV_PYTHON) -m tests.bench.api

# `ws` is installed for it alone.
bench-ws: SUBSCRIBERS ?= 2000 5000
bench-ws: install ## what the sockets cost beside a plain Node `ws` server, idle connections, and latency
	cd tests/bench/ws/broadcaster && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@exec $(VENV_PYTHON) -m tests.bench.ws $(SUBSCRIBERS)

lint: install ## ruff and mypy
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	DATABASE_URL=postgresql:///unused $(VENV_PYTHON) -m mypy

format: install ## let ruff fix and format the code
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

# A database of its own: `make test` may be using the other one. Without one, Django's checks wait for it, for minutes.
check: install ## no migration is missing, and the production settings pass Django's checks
	@DATABASE_URL="$$($(VENV_PYTHON) -m aurum.embedded_postgres start $(CHECK_POSTGRES))" || exit 1; \
	export DATABASE_URL AURUM_ENV_FILES=; \
	trap '$(VENV_PYTHON) -m aurum.embedded_postgres stop $(CHECK_POSTGRES)' EXIT; trap 'exit 130' INT; \
	$(VENV_PYTHON) manage.py makemigrations --check --dry-run && \
	DJANGO_ENV=production ALLOWED_HOSTS=api.aurumlabs.io \
	JWT_SECRET="$$($(VENV_PYTHON) -c 'import secrets; print(secrets.token_hex(32))')" \
	$(VENV_PYTHON) manage.py check --deploy --fail-level WARNING

# The Dockerfile's steps and compose.yaml's commands, without Docker: see tests/deploy.
check-deploy: install ## build the image in a folder, and run each process in it as it stands
	@AURUM_ENV_FILES= DATABASE_URL=postgresql:///unused $(VENV_PYTHON) -m tests.deploy

# It asks the package index (or OSV, with AUDIT="--vulnerability-service osv"), which a closed network may not have.
audit: install ## known security holes in what production installs
	@test -x .data/audit/bin/pip-audit || { $(PYTHON) -m venv .data/audit && \
	.data/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	.data/audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip --requirement requirements.txt $(AUDIT)

$(PYTHON_STAMP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	sys.exit(0 if ok else "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d: try `make PYTHON=python3.12`" \
	% sys.version_info[:2])'
	@test -x $(VENV_PYTHON) || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(NODE_STAMP): indexer/devchain/package.json indexer/devchain/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the development chain: install Node.js 18 or newer" >&2; exit 1; }
	cd indexer/devchain && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# What the tests of clients run; production has none of it.
$(CLIENTS_STAMP): tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
