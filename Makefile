# Every task of this project, for people and for CI. `make` alone lists them.
#
# Needs Rust on a Debian-like system and nothing else: .ci/install installs what a target lacks and says so.
# ARGS passes options to bangui: make up ARGS="--workers 3 --listen 0.0.0.0:8080"

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up docs deny release test test-repeat test-api test-oidc test-valkey test-manifests test-deploy test-systemd test-k8s test-fail2ban-1.1 test-stock-jails chaos-host test-browser screenshots fmt clippy doc bench fuzz

ARGS ?=
N ?= 10
TESTS ?=
FUZZ_SECONDS ?= 60
CHAOS_SECONDS ?= 1800
BROWSER_ARGS ?=
AXE_VERSION = 4.14.0
# Most tests wait for processes rather than for a core.
TEST_THREADS ?= 6
# Modules of tests/it whose tests start a fail2ban: the tests of a module that is missing here fail (tests/it/support/fail2ban.rs).
FAIL2BAN_TESTS = agent:: agent_bans:: agent_faults:: agent_jails:: agent_programs:: audit:: bad_input:: ban_jobs:: ban_lists:: \
	ban_times:: bans:: broken_fail2ban:: cluster_view:: command_line:: command_line_changes:: commands:: config_errors:: dashboard:: detection:: diagnosis:: \
	discovery:: dropin:: epochs:: events:: hang_ups:: host_changes:: host_down:: host_files:: hours:: idempotency:: \
	jail_faults:: jail_names:: jails:: keys:: look_up:: metrics:: newer_items:: newer_states:: pages permissions_ redis_away:: \
	redis_cluster:: redis_fails:: redis_refuses_writes:: redis_tls:: refused_writes_logs:: schedule:: scheduler:: sentinel:: servers:: settings:: slow_unbans:: stock_jails:: support::self_test:: \
	sweep:: switches:: traces:: up:: waiting::

help: ## List the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9.-]+):.*## /  make \1\t/' | expand -t 27
	@echo '  ARGS="..." passes options to bangui: make up ARGS="--workers 3"'

up: ## Build and run everything on this machine: Redis, agent, workers, and a sandbox fail2ban if none runs
	@.ci/install rust cc redis-server fail2ban
	cargo build --release --locked
	@if fail2ban-client ping >/dev/null 2>&1; then \
		echo "Found this machine's fail2ban: bangui will manage it."; sandbox=; \
	else \
		echo "No fail2ban answers this user: starting a sandbox."; sandbox=--sandbox; \
	fi; exec target/release/bangui up $$sandbox $(ARGS)

release: ## Build the binary that is released, with completions, man pages, bill of materials (SBOM) and checksums, in target/release-files
	@.ci/install rust cc python3
	cargo build --release --locked
	.ci/release

test: fmt clippy doc ## Check formatting, lints and documentation, run the tests, check the API and the manifests (.ci/run does more)
	@.ci/install redis-server fail2ban strace systemd-analyze
	@mkdir -p target
	@# The reasons once more at the end: what the processes of a failed test printed is long.
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked 2>&1 | tee target/test.log || \
		{ echo "What failed:"; grep -A 4 "panicked at" target/test.log; exit 1; }
	$(MAKE) test-api test-manifests

docs: ## Rewrite what documents and snapshots quote from the code, then show what changed
	@.ci/install rust cc redis-server
	INSTA_UPDATE=always cargo test --locked --test it -- interface:: documents::
	git diff --stat -- docs tests/it/snapshots

deny: ## Check dependencies: bans, licenses, sources, advisories (.deny.toml), and unused ones
	@.ci/install rust cc cargo-deny cargo-machete
	.ci/deny

test-repeat: ## Run the integration tests N times (default 10) to find flaky ones; TESTS=up:: runs only those with that name
	@.ci/install rust cc redis-server fail2ban strace systemd-analyze
	cargo test --locked --test it --no-run
	@for n in $$(seq $(N)); do echo "run $$n of $(N)"; \
		RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --test it -- $(TESTS) || { echo "run $$n of $(N) failed" >&2; exit 1; }; done

test-api: ## Test a running cluster against its OpenAPI document
	@.ci/install rust cc redis-server fail2ban curl python3-venv
	.ci/test-api

test-oidc: ## Log in with a provider that others have written (oidc-provider of npm)
	@.ci/install rust cc redis-server npm
	.ci/test-oidc

test-manifests: ## Check the manifests of k8s/ without a cluster
	@.ci/install python3-venv openssl
	.ci/test-manifests

test-valkey: ## Run the integration tests on Valkey instead of Redis
	@.ci/install rust cc redis-server fail2ban
	@.ci/valkey
	PATH="$(CURDIR)/target/valkey/bin:$$PATH" RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --test it

test-deploy: ## Build the image, run docker-compose.yml, use it, replace its workers under load
	@.ci/install python3
	.ci/test-deploy

test-systemd: ## Install the units as docs/install.md says, in a container with systemd, and use them
	.ci/test-systemd

test-k8s: ## Apply k8s/ to the cluster of KUBECONFIG, use it, update and evict workers under load
	@.ci/install python3-venv openssl
	.ci/test-k8s

test-fail2ban-1.1: ## Run the tests that involve fail2ban with fail2ban 1.1, if apt's mirror has it
	@.ci/install rust cc redis-server fail2ban strace
	@.ci/fail2ban-1.1 || { code=$$?; [ $$code -eq 3 ] && exit 0; exit $$code; }; \
	BANGUI_TEST_FAIL2BAN=$$PWD/target/fail2ban-1.1 RUST_TEST_THREADS=$(TEST_THREADS) \
		cargo test --locked --test it -- $(FAIL2BAN_TESTS)

test-stock-jails: ## Switch every jail of fail2ban's package on and off, of fail2ban 1.1 too if apt's mirror has it
	@.ci/install rust cc redis-server fail2ban
	cargo test --locked --test it -- --ignored --nocapture stock_jails::
	@.ci/fail2ban-1.1 || { code=$$?; [ $$code -eq 3 ] && exit 0; exit $$code; }; \
	BANGUI_TEST_FAIL2BAN=$$PWD/target/fail2ban-1.1 cargo test --locked --test it -- --ignored --nocapture stock_jails::

test-browser: target/browser/axe.min.js ## Walk through the pages in Chromium behind HAProxy, with JavaScript and without, and check them with axe-core
	@.ci/install rust cc redis-server fail2ban chromium haproxy
	RUST_TEST_THREADS=2 cargo test --locked --test browser -- --skip support:: $(BROWSER_ARGS)

screenshots: ## Take pictures of every page, wide and narrow, in every theme, into target/screenshots; two of them are for the README
	@.ci/install rust cc redis-server fail2ban chromium
	cargo test --locked --test browser -- --ignored screenshots::

# For the browser test alone, and never committed.
target/browser/axe.min.js:
	@.ci/install npm
	mkdir -p target/browser
	cd target/browser && tar -xzf "$$(npm pack --silent axe-core@$(AXE_VERSION))" --strip-components=1 package/axe.min.js
	touch $@

chaos-host: ## Change jails at random for CHAOS_SECONDS (default 1800) beside a hostile neighbour; CHAOS_SEED repeats a run
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

bench: ## Run the benchmarks and print their table (docs/benchmarks.md)
	@.ci/install rust cc redis-server fail2ban wrk
	cargo bench --locked

fuzz: ## Fuzz the readers of fail2ban's protocol and the writer of its configuration, FUZZ_SECONDS each (default 60)
	@.ci/install rust cc cargo-fuzz
	@cd tests/fuzz && for target in $$(cargo fuzz list --fuzz-dir .); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		cargo fuzz run --fuzz-dir . -s none "$$target" -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done
