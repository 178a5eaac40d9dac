# Two commands matter to a newcomer: `make demo` and `make test`. Both set up by themselves.
.DEFAULT_GOAL := help
.PHONY: help setup demo images test soak tamper walk engines-table lint quality bench bench-scan lock clean
BIN := .venv/bin

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## install system packages (as root) and .venv; safe to repeat
	@scripts/setup

demo: setup ## run every example tool in a sandbox and show what was enforced
	@scripts/demo

images: ## build the images base, python and node into the store, from Debian's packages
	@scripts/setup --images
	@$(BIN)/fumehood image build images/base images/python images/node

test: setup-dev lint ## lint, then every test suite
	@scripts/test

engines-table: setup-dev ## attack every engine and write docs/engines.md's table from what that found
	@$(BIN)/pytest tests/conformance/test_promises.py tests/hostile/test_hostile.py --engines-table

MINUTES ?= 5
CALLS ?= 10000
soak: setup-dev ## random kills under load, MINUTES=5 of them, then CALLS=10000 of 1 MB (as root)
	@cd tests && ../$(BIN)/python -m support.soak --minutes $(MINUTES) --flat-calls $(CALLS)

TAMPERINGS ?= 1000
tamper: setup-dev ## 1,000 random tamperings with an audit log of 100,000 records, each to be found
	@cd tests && ../$(BIN)/python -m support.tamper --rounds $(TAMPERINGS)

walk: setup-dev ## from an alert to a proof, as docs/incidents.md shows it (as root)
	@cd tests && ../$(BIN)/python -m support.walk

quality: setup-dev ## how much the scanner finds and leaves alone, on the corpus
	@cd tests && ../$(BIN)/python -m corpus.quality --wrong

lint: setup-dev ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## compare with what a user would pick instead (ROUNDS=60; fewer are quicker)
	@scripts/bench-setup
	@.venv-bench/bin/python -m bench $(if $(ROUNDS),--rounds $(ROUNDS))

bench-scan: setup-dev ## what scanning costs beside others, into docs/scanning.md (after `make bench` with detect-secrets)
	@$(BIN)/python -m bench.scan

lock: ## resolve pyproject.toml into the hashed lock files again
	@scripts/lock

clean: ## remove .venv and caches
	rm -rf .venv .venv-bench build .mypy_cache .ruff_cache .pytest_cache .hypothesis runtime/*.egg-info

.PHONY: setup-dev
setup-dev:
	@scripts/setup --dev
