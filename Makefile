# kubeha: every task by name. `make demo` and `make test` set up all they need on a fresh machine.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  \033[1m%-17s\033[0m %s\n", $$1, $$2}'

.PHONY: setup
setup: $(VENV)/ready ## virtual environment with kubeha and the development tools

$(VENV)/ready: pyproject.toml
	scripts/setup-venv $(VENV)
	@touch $@

.PHONY: setup-system
setup-system: ## Debian packages that the lab needs (root)
	scripts/setup-system

.PHONY: setup-system-test
setup-system-test: ## and what the tests of the SSH layer need: an sshd, which is not started (root)
	scripts/setup-system test

.PHONY: lint
lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup ## rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-unit
test-unit: setup ## unit, golden, recorded and property tests: no machine is touched
	$(PYTEST) tests/unit tests/recorded tests/golden tests/property -m "not lab and not soak" -n 2

.PHONY: test-ssh
test-ssh: setup setup-system-test ## the SSH layer against a real sshd on loopback
	$(PYTEST) tests/ssh

# Two runs side by side, each with labs of its own: machines boot and settle, they seldom compute.
FINDINGS := test_article test_false_alarms test_findings_* test_lint_* test_keepalived_accepts
.PHONY: test-lab
test-lab: setup setup-system ## the whole thing on real systemd machines (root, half an hour)
	$(MAKE) --jobs=2 --output-sync=target test-lab-endpoint test-lab-findings

.PHONY: test-lab-endpoint
test-lab-endpoint: setup setup-system ## its first half: the lab itself, and the endpoint
	$(PYTEST) tests -m "lab and not soak" --timeout 1200 $(FINDINGS:%=--ignore-glob='*/lab/%.py')

.PHONY: test-lab-findings
test-lab-findings: setup setup-system ## its second half: what is found on machines that are broken
	$(PYTEST) $(wildcard $(FINDINGS:%=tests/lab/%.py)) -m "lab and not soak" --timeout 1200

.PHONY: test
test: lint test-unit test-ssh test-lab ## everything that CI runs

.PHONY: test-soak
test-soak: setup setup-system ## many repeats, hours
	$(PYTEST) tests -m soak --timeout 0

.PHONY: demo
demo: setup setup-system ## the main job, told as a story, on real machines (KEEP=1 leaves them up)
	$(BIN)/python scripts/demo.py

.PHONY: docs
docs: setup ## bring the generated parts of the documentation up to date
	$(BIN)/python scripts/configuration_reference.py >docs/.configuration.md
	mv docs/.configuration.md docs/configuration.md
	$(BIN)/cog -r -I scripts docs/*.md

.PHONY: bench
bench: setup setup-system ## figures for the documentation
	$(BIN)/python bench/cli.py

.PHONY: clean
clean: ## remove what make made in this checkout (not a running lab)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
