# What a person does more than once. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Build caches live outside the checkout, so that a fresh clone builds fast.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flipt-kubernetes
export CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TERM_COLOR ?= auto

# Debian packages that building and testing need; those of Node.js and Python only where neither came otherwise.
PACKAGES := gcc libc6-dev
# Real databases, which tests start for themselves.
PACKAGES += postgresql pgbouncer mariadb-server redis-tools
PACKAGES += $(if $(and $(shell command -v node),$(shell command -v npm)),,nodejs npm)
PACKAGES += $(shell python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv)
RUST_MINOR := 95
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := "$(CACHE)/tools/bin/cargo-fuzz"

# What a real Kubernetes needs beside its own programs, and what builds images.
# Debian's containerd would replace that of Docker: what is there is left alone.
CLUSTER_PACKAGES := containernetworking-plugins iptables iproute2 openssl util-linux busybox-static
CLUSTER_PACKAGES += $(foreach program,containerd runc,$(if $(shell command -v $(program)),,$(program)))
CLUSTER_PACKAGES += $(if $(shell command -v go),,golang-go)
IMAGE_PACKAGES := buildah ca-certificates

# Programs of the tests in a cluster, which no other command runs.
CLUSTER_TESTS := definitions cluster outages releases

# Programs as tests have them: without the features of tests, everything they depend on would be built a second time.
PROGRAMS := cargo build --quiet --workspace --bins --test keeps_manifests_current

.PHONY: help setup programs demo test clients fuzz schemathesis check lint format size soak bench audit crds rbac chart chart-docs images cluster-setup cluster-tools e2e

help: ## This list
	@grep -hE '^[-a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([-a-z0-9]+):.*## /  make \1\t/' | expand -t 22

# Installs those of some Debian packages that are missing.
define install
	@missing=(); for package in $(1); do dpkg -s "$$package" >/dev/null 2>&1 || missing+=("$$package"); done; \
	if (( $${#missing[@]} )); then \
		echo "installing $${missing[*]}"; \
		as_root=env; (( EUID )) && as_root=sudo; \
		[[ -e /etc/postgresql-common/createcluster.conf ]] || { $$as_root mkdir -p /etc/postgresql-common && \
			echo 'create_main_cluster = false' | $$as_root tee /etc/postgresql-common/createcluster.conf >/dev/null; }; \
		$$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends "$${missing[@]}"; \
	fi
endef

setup: ## Install what a fresh machine lacks
	$(call install,$(PACKAGES))
	@command -v cargo >/dev/null || { echo "Rust is missing: install 1.$(RUST_MINOR) or later from https://rustup.rs" >&2; exit 1; }
	@minor=$$(cargo --version | sed -E 's/^cargo 1\.([0-9]+).*/\1/'); \
	(( minor >= $(RUST_MINOR) )) || { echo "$$(cargo --version) is too old: 1.$(RUST_MINOR) or later is needed (rustup update)" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { command -v rustup >/dev/null && rustup component add clippy; } || \
		{ echo "Clippy is missing: install that of your Rust" >&2; exit 1; }
	@mkdir -p "$(CACHE)" "$(CARGO_TARGET_DIR)"

programs: setup
	@$(PROGRAMS)

demo: setup ## Run the whole main job on this machine; ONCE=1 performs it and exits
	@$(PROGRAMS)
	@exec "$(CARGO_TARGET_DIR)/debug/demo" $(if $(ONCE),--once)

test: setup check lint clients ## Everything that must hold: format, lints, unit, property and end-to-end tests
	cargo test --workspace --no-fail-fast 2>&1 | tee "$(CACHE)/tests.log"
	@echo "Promises of the store, kept on each database:"
	@for database in sqlite postgresql mariadb cockroachdb_dialect; do \
		count=$$(grep -cE "^test .*::$$database(::| ).*\.\.\. ok$$" "$(CACHE)/tests.log" || true); \
		printf '  %-20s %4d\n' "$$database" "$$count"; (( count > 0 )); \
	done
	$(MAKE) --no-print-directory fuzz schemathesis SECONDS=60

clients: setup ## Install Flipt's own clients, which the end-to-end tests run
	@for language in node python rust; do e2e/clients/install "$$language" >/dev/null; done

fuzz: setup ## Fuzz every parser, for SECONDS=60 in total
	@[[ "$$($(CARGO_FUZZ) --version 2>/dev/null)" == "cargo-fuzz $(CARGO_FUZZ_VERSION)" ]] || \
		CARGO_TARGET_DIR="$(CACHE)/fuzz/cargo-fuzz" cargo install --locked --quiet --root "$(CACHE)/tools" cargo-fuzz@$(CARGO_FUZZ_VERSION)
	@CACHE="$(CACHE)" e2e/fuzz/run "$(or $(SECONDS),60)"

schemathesis: setup ## Ask a server all that its OpenAPI document allows, for SECONDS=60
	@$(PROGRAMS)
	@CACHE="$(CACHE)" e2e/schemathesis/run "$(or $(SECONDS),60)"

check: setup ## Formatting, the chart's documentation, and one TLS provider in the whole tree
	cargo fmt --all --check
	@charts/docs --check
	@cargo fmt --manifest-path e2e/fuzz/Cargo.toml --check
	cargo fmt --manifest-path e2e/clients/rust/Cargo.toml --check
	@if cargo tree --workspace --target all --edges normal,build --invert ring 2>/dev/null | grep -q .; then \
		echo "a dependency brings ring beside aws-lc-rs; switch off its default features:" >&2; \
		cargo tree --workspace --target all --edges normal,build --invert ring >&2; exit 1; \
	fi

# The workspace's rustc is Clippy (.cargo/rustc), and cargo repeats the warnings of what it need not compile again.
lint: setup ## Build everything; warnings of the compiler and of Clippy are denied
	(cargo build --color never --workspace --all-targets && \
		cargo build --color never --workspace $(CLUSTER_TESTS:%=--test %)) 2>&1 | tee "$(CACHE)/build.log"
	@! grep -E '^warning: .* generated [0-9]+ warning' "$(CACHE)/build.log" || { echo "warnings are denied" >&2; exit 1; }

format: setup ## Format the code
	cargo fmt --all
	cargo fmt --manifest-path e2e/fuzz/Cargo.toml
	cargo fmt --manifest-path e2e/clients/rust/Cargo.toml

size: setup ## Sizes, memory and start-up time of the sidecar as shipped
	cargo build --profile ship-sidecar --package flipt-sidecar
	@$(PROGRAMS)
	@exec "$(CARGO_TARGET_DIR)/debug/measure" "$(CARGO_TARGET_DIR)/ship-sidecar/flipt-sidecar"

soak: setup ## Memory of the sidecar as shipped over SWAPS=1000 changes of 10,000 flags: half an hour
	cargo build --profile ship-sidecar --package flipt-sidecar
	@$(PROGRAMS)
	@exec "$(CARGO_TARGET_DIR)/debug/soak" "$(CARGO_TARGET_DIR)/ship-sidecar/flipt-sidecar" $(or $(SWAPS),1000)

bench: setup ## Benchmarks, as ratios against a floor measured in the same run; then imports and exports
	cargo build --quiet --release -p flipt -p flipt-sidecar -p flipt-dev-s3
	cargo bench --workspace
	@$(PROGRAMS)
	@exec "$(CARGO_TARGET_DIR)/debug/measure_import" "$(CARGO_TARGET_DIR)/release/flipt"

crds: setup ## Write the definitions of the custom resources anew
	cargo run --quiet --package flipt-crds --bin crdgen
	cargo run --quiet --package flipt-crds --bin crdgen charts/flipt/files/crds

chart: cluster-tools ## Test the Helm chart, as far as that needs no cluster
	@PATH="$$(CACHE="$(CACHE)" e2e/tools/build):$$PATH" CACHE="$(CACHE)" charts/tests/run

chart-docs: ## Write the chart's table of values and its schema anew
	@charts/docs

rbac: setup ## Write what the operator may do in a cluster into the chart anew
	UPDATE_RBAC=1 cargo test --quiet --workspace --bin flipt-operator rbac

images: setup ## Build the images, as archives; REGISTRY=localhost TAG=test make up their names
	$(call install,$(IMAGE_PACKAGES))
	@CACHE="$(CACHE)" charts/images/all

cluster-setup: setup ## Install what a real Kubernetes on this machine needs
	$(call install,$(CLUSTER_PACKAGES) $(IMAGE_PACKAGES))

cluster-tools: cluster-setup ## Build a real Kubernetes for the tests from source, once: ten minutes
	@CACHE="$(CACHE)" e2e/tools/build

# A KUBECONFIG of the environment may be somebody's production: only one that is named counts.
ifeq ($(origin KUBECONFIG),command line)
e2e: setup
	@CACHE="$(CACHE)" EXISTING="$(KUBECONFIG)" PARTS="$(PARTS)" e2e/cluster/test $(TESTS)
else
e2e: setup cluster-tools chart ## Run the tests in a real Kubernetes; or in yours: KUBECONFIG=file; PARTS=outages TESTS=part-of-a-name
	@CACHE="$(CACHE)" PARTS="$(PARTS)" e2e/cluster/test $(TESTS)
endif

audit: setup ## Licences and sources of every dependency
	@PATH="$(CACHE)/tools/bin:$$PATH" command -v cargo-deny >/dev/null || cargo install --locked --quiet --root "$(CACHE)/tools" cargo-deny@0.20.2
	PATH="$(CACHE)/tools/bin:$$PATH" cargo deny --all-features check licenses bans sources
