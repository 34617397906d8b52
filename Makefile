# Everything a person or a machine does with this project. `make` alone lists it.
#
# Nothing is needed beforehand but Rust on a Debian-like system: .ci/install adds what a target needs and says so.
# Options for bangui itself go through ARGS: make up ARGS="--workers 3 --listen 0.0.0.0:8080"

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up release test test-api test-valkey test-manifests test-deploy test-systemd test-k8s test-fail2ban-1.1 test-stock-jails chaos-host fmt clippy doc bench fuzz

ARGS ?=
FUZZ_SECONDS ?= 60
CHAOS_SECONDS ?= 1800
# Most tests wait for processes, not for a core.
TEST_THREADS ?= 6
# Modules of tests/it whose tests start a fail2ban.
FAIL2BAN_TESTS = agent:: agent_bans:: agent_faults:: agent_jails:: agent_programs:: audit:: bans:: config_errors:: \
	detection:: dropin:: host_changes:: jail_faults:: jails:: servers:: slow_unbans:: stock_jails:: support::self_test::

help: ## List the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9.-]+):.*## /  make \1\t/' | expand -t 27
	@echo '  ARGS="..." is passed to bangui: make up ARGS="--workers 3"'

up: ## Run everything on this machine: Redis, agent, workers; fail2ban too if none runs
	@.ci/install rust cc redis-server fail2ban
	cargo build --release --locked
	@if fail2ban-client ping >/dev/null 2>&1; then \
		echo "This machine's fail2ban answers: bangui watches it."; sandbox=; \
	else \
		echo "No fail2ban answers this user here: bangui brings a sandbox of its own."; sandbox=--sandbox; \
	fi; exec target/release/bangui up $$sandbox $(ARGS)

release: ## Build the binary that is released, with its bill of materials (SBOM) and checksums, in target/release-files
	@.ci/install rust cc python3
	cargo build --release --locked
	.ci/release

test: fmt clippy doc ## Check and test everything
	@.ci/install redis-server fail2ban strace systemd-analyze
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked
	$(MAKE) test-api test-manifests

test-api: ## Hold a live cluster against its OpenAPI document
	@.ci/install rust cc redis-server fail2ban curl python3-venv
	.ci/test-api

test-manifests: ## Hold the manifests of k8s/ against the API of Kubernetes and against each other
	@.ci/install python3-venv openssl
	.ci/test-manifests

test-valkey: ## Run the integration tests on Valkey in place of Redis
	@.ci/install rust cc redis-server fail2ban
	@.ci/valkey
	PATH="$(CURDIR)/target/valkey/bin:$$PATH" RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --test it

test-deploy: ## Build the image, run docker-compose.yml, walk through it, replace its workers under load
	@.ci/install python3
	.ci/test-deploy

test-systemd: ## Install the units as README.md says, in a container that systemd runs, and walk through it
	.ci/test-systemd

test-k8s: ## Apply k8s/ to the cluster of KUBECONFIG, walk through it, update and evict workers under load
	@.ci/install python3-venv openssl
	.ci/test-k8s

test-fail2ban-1.1: ## Run the tests that concern fail2ban against 1.1, where apt's mirror offers it
	@.ci/install rust cc redis-server fail2ban strace
	@.ci/fail2ban-1.1 || { code=$$?; [ $$code -eq 3 ] && exit 0; exit $$code; }; \
	BANGUI_TEST_FAIL2BAN=$$PWD/target/fail2ban-1.1 RUST_TEST_THREADS=$(TEST_THREADS) \
		cargo test --locked --test it -- $(FAIL2BAN_TESTS)

test-stock-jails: ## Switch every jail that fail2ban's package comes with on and off
	@.ci/install rust cc redis-server fail2ban
	cargo test --locked --test it -- --ignored stock_jails::

chaos-host: ## Change jails at random for CHAOS_SECONDS (default 1800) on a host where others do their worst; CHAOS_SEED repeats a run
	@.ci/install rust cc redis-server fail2ban
	CHAOS_SECONDS=$(CHAOS_SECONDS) cargo test --locked --test chaos

fmt:
	@.ci/install rust rustfmt cc
	cargo fmt --check

clippy:
	@.ci/install rust clippy cc
	cargo clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked --document-private-items

bench: ## Measure, and print the table of figures
	@.ci/install rust cc redis-server fail2ban wrk
	cargo bench --locked

fuzz: ## Feed random bytes to what reads fail2ban and to what writes its configuration, FUZZ_SECONDS each (default 60)
	@.ci/install rust cc cargo-fuzz
	@cd tests/fuzz && for target in $$(cargo fuzz list --fuzz-dir .); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		cargo fuzz run --fuzz-dir . -s none "$$target" -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done
