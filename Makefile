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

# Three at a time, each with labs of its own: machines boot and settle, they seldom compute. What is in
# no group runs last, with the lab tests that are not in tests/lab.
LAB_ENDPOINT := apply_refusals bootstrap changes debian13 endpoint topologies
LAB_CAUSES := findings_machine findings_members findings_vrrp findings_wire
LAB_FINDINGS := article false_alarms findings_endpoint findings_kubernetes keepalived_accepts lint_deployed
LAB_ROWS := row_api_servers row_holder row_surroundings
LAB_MOVES := drill guard move_hitless move_interrupted move_kernel
LAB_GROUPED := $(LAB_ENDPOINT) $(LAB_CAUSES) $(LAB_FINDINGS) $(LAB_ROWS) $(LAB_MOVES)
LAB_PYTEST := $(PYTEST) -m "lab and not soak" --timeout 1200

.PHONY: test-lab
test-lab: setup setup-system ## the whole thing on real systemd machines (root, most of an hour)
	$(MAKE) --jobs=3 --output-sync=target --keep-going \
		test-lab-endpoint test-lab-findings test-lab-causes test-lab-moves test-lab-rows test-lab-others

.PHONY: test-lab-endpoint
test-lab-endpoint: setup setup-system ## of these: deploying the endpoint, changing it, losing its nodes
	$(LAB_PYTEST) $(LAB_ENDPOINT:%=tests/lab/test_%.py)

.PHONY: test-lab-findings
test-lab-findings: setup setup-system ## what is found in files, in the endpoint and behind it
	$(LAB_PYTEST) $(LAB_FINDINGS:%=tests/lab/test_%.py)

.PHONY: test-lab-causes
test-lab-causes: setup setup-system ## what is found on the wire, on machines and between the nodes
	$(LAB_PYTEST) $(LAB_CAUSES:%=tests/lab/test_%.py)

.PHONY: test-lab-rows
test-lab-rows: setup setup-system ## what becomes of the VIP and of clients, fault by fault, on one lab
	$(LAB_PYTEST) $(LAB_ROWS:%=tests/lab/test_%.py)

.PHONY: test-lab-moves
test-lab-moves: setup setup-system ## planned moves, the guard, drills
	$(LAB_PYTEST) $(LAB_MOVES:%=tests/lab/test_%.py)

.PHONY: test-lab-others
test-lab-others: setup setup-system ## the lab itself, and all others
	$(LAB_PYTEST) tests $(LAB_GROUPED:%=--ignore=tests/lab/test_%.py)

.PHONY: test
test: lint test-unit test-ssh test-lab ## everything that CI runs

.PHONY: test-soak
test-soak: setup setup-system ## many repeats, hours
	$(PYTEST) tests -m soak --timeout 0

.PHONY: test-explore
test-explore: setup ## the property tests with many new examples
	KUBEHA_EXAMPLES=explore $(PYTEST) tests/property tests/unit -m "hypothesis and not soak" -n 2 --timeout 0

.PHONY: demo
demo: setup setup-system ## the main job, told as a story, on real machines (KEEP=1 leaves them up)
	$(BIN)/python scripts/demo.py

.PHONY: docs
docs: setup ## bring the generated parts of the documentation up to date
	$(BIN)/python scripts/configuration_reference.py >docs/.configuration.md
	mv docs/.configuration.md docs/configuration.md
	$(BIN)/cog -r -I scripts docs/*.md

.PHONY: bench
bench: setup setup-system ## figures for the documentation (hours; may be stopped and continued)
	$(BIN)/python bench/cli.py
	$(BIN)/python -m bench.failover

.PHONY: clean
clean: ## remove what make made in this checkout (not a running lab)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
