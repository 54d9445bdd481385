# `make help` lists what there is. Everything is installed into .venv, from the locks in requirements/.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --require-hashes
# Passed on to what the target runs: `make test ARGS="-k lanes"`, `make up ARGS="--workers 4"`.
ARGS ?=
# How many processes run the tests at once; with ARGS, which mostly choose a few tests, this one alone (0).
WORKERS ?= $(if $(ARGS),0,$(shell expr $$(nproc) + 2))
# Of `make soak`.
HOURS ?= 1
# Optional parts that `make up` needs: `make up EXTRAS=ccxt`.
EXTRAS ?=
# Of `make images`: what stands before the names of images, what makes them (docker, podman), and 1 to send them there.
REGISTRY ?=
CONTAINERS ?= docker
PUSH ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGES := ingress worker reaper relay

# A .venv whose interpreter is gone (a Python update) counts as not made.
ifneq ($(shell test -x .venv/bin/python && echo runs),runs)
$(shell rm -f .venv/.stamp-*)
endif

# Where it is set, every process that is started compiles all its sources anew: most of what the tests do.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test test-failover test-upgrade check check-openapi test-collector format lock bench bench-full bench-peers chaos soak clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

up: .venv/.stamp-run $(EXTRAS:%=.venv/.stamp-%) ## run the whole bridge here, in the foreground (ARGS go to `bascule up`; EXTRAS=ccxt)
	@exec .venv/bin/bascule up $(ARGS)

test: .venv/.stamp-dev .venv/.stamp-k8s ## run the tests (ARGS are passed to pytest; WORKERS=n of them at once)
ifeq ($(WORKERS),0)
	@.venv/bin/python -m pytest $(ARGS)
else
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal --alone without $(ARGS); ended=$$?; \
	[ $$ended -gt 1 ] || .venv/bin/python -m pytest --alone only $(ARGS) && exit $$ended
endif

test-failover: .venv/.stamp-dev ## kill, freeze and replace primaries of Redis under load, with Sentinels, as k8s/ starts them too, and in a cluster (12 minutes)
	@.venv/bin/python -m pytest --slow tests/e2e/test_failover.py tests/integration/k8s $(ARGS)

test-upgrade: .venv/.stamp-dev ## roll from the release before to this tree under load, back, and again (3 minutes)
	@.venv/bin/python -m pytest --slow tests/e2e/test_upgrade.py $(ARGS)

check: .venv/.stamp-dev .venv/.stamp-audit ## format, lint, types, import contracts, known vulnerabilities
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m tools.audit

check-openapi: .venv/.stamp-dev .venv/.stamp-openapi ## hold a running ingress against its own description
	@.venv/bin/python -m tests.openapi .venv/openapi/bin/schemathesis $(ARGS)

test-collector: .venv/.stamp-dev .venv/.stamp-otlp-grpc ## have a real OpenTelemetry collector take the traces (built once, by Go)
	@.venv/bin/python -m tests.support.collector.build
	@.venv/bin/python -m pytest tests/collector --slow $(ARGS)

format: .venv/.stamp-dev ## put the code into the one format
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: .venv/.stamp-dev .venv/.stamp-bench ## run the main benchmarks and draw them (with ARGS, names and options, it draws nothing)
	@.venv/bin/python -m benchmarks $(or $(ARGS),main)
	$(if $(ARGS),,@.venv/bench/bin/python -m benchmarks.plots)

bench-full: .venv/.stamp-dev .venv/.stamp-bench ## the same with growth, and beside other receivers and queues
	@.venv/bin/python -m benchmarks full $(ARGS)
	@$(MAKE) --no-print-directory bench-peers ARGS=
	@.venv/bench/bin/python -m benchmarks.plots

bench-peers: .venv/.stamp-dev .venv/.stamp-peers .venv/.stamp-peers-arq .venv/.stamp-peers-node ## measure what others do beside it (ARGS are passed on)
	@.venv/bin/python -m benchmarks.peers $(ARGS)

chaos: .venv/.stamp-dev ## break everything under load for 5 minutes and check every promise (SEED=n repeats a run)
	@.venv/bin/python -m tests.chaos --seconds 300 $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: .venv/.stamp-dev ## the same for HOURS=n
	@.venv/bin/python -m tests.chaos --hours $(HOURS) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: rules kustomize images check-images e2e-cluster
rules: .venv/.stamp-dev ## wrap the rules of Prometheus for its operator
	@.venv/bin/python -m tools.prometheus_rule

kustomize: .venv/.stamp-dev ## see that k8s/ can be rendered: kubectl 1.27 or newer, else Kustomize is built, once, by Go
	@.venv/bin/python -m tests.support.kustomize

images: $(IMAGES:%=image-%) ## make the container images (REGISTRY=registry.example.com/you PUSH=1 sends them there)

# Podman's own format has no place for the health check.
image-%: export BUILDAH_FORMAT = docker
image-%:
	@$(CONTAINERS) build --target $* --label org.opencontainers.image.version=$(VERSION) \
		--tag $(if $(REGISTRY),$(REGISTRY)/)bascule-$*:$(VERSION) .
	$(if $(PUSH),@$(CONTAINERS) push $(if $(REGISTRY),$(REGISTRY)/)bascule-$*:$(VERSION))

e2e-cluster: .venv/.stamp-dev ## walk the way of docs/kubernetes.md over the cluster that kubectl points to (ARGS=--keep leaves it there)
	@.venv/bin/python -m tests.cluster $(ARGS)

check-images: .venv/.stamp-dev ## make the images in chroots on a fresh Debian, and trade an alert with them (root, debootstrap)
	@CI=true .venv/bin/python -m pytest --slow tests/images $(ARGS)

lock: .venv/.stamp-venv ## compile the locks anew, with the newest versions allowed
	@tools/lock

clean: ## remove what was built; the data in var/ stays
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path ./var -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	@if [ -e var ]; then echo 'kept var/, which holds alerts and secrets; remove it by hand if you mean it'; fi

.venv/.stamp-venv:
	@tools/make-venv .venv
	@touch $@

.venv/.stamp-run: .venv/.stamp-venv requirements/run.txt requirements/build.txt pyproject.toml
	@echo 'installing into .venv'
	@$(INSTALL) --requirement requirements/build.txt --requirement requirements/run.txt
	@$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.stamp-ccxt .venv/.stamp-otlp-grpc: .venv/.stamp-%: .venv/.stamp-run requirements/%.txt
	@echo 'installing $* into .venv'
	@$(INSTALL) --requirement requirements/$*.txt
	@touch $@

.venv/.stamp-dev: .venv/.stamp-run .venv/.stamp-ccxt requirements/dev.txt
	@echo 'installing the tools for tests and checks into .venv'
	@$(INSTALL) --requirement requirements/dev.txt
	@touch $@

# Tools with many packages of their own, each in an environment of its own. Go comes only where the machine has none.
.venv/.stamp-openapi .venv/.stamp-audit .venv/.stamp-go .venv/.stamp-k8s .venv/.stamp-bench .venv/.stamp-peers .venv/.stamp-peers-arq: .venv/.stamp-%: .venv/.stamp-venv requirements/%.txt
	@echo 'installing the tools of $* into .venv/$*'
	@.venv/bin/python -m venv .venv/$*
	@.venv/$*/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes \
		--requirement requirements/$*.txt
	@touch $@

# Node's packages, away from the sources. Without npm there are none, and what needs them says that it is skipped.
.venv/.stamp-peers-node: .venv/.stamp-venv benchmarks/peers/package.json benchmarks/peers/package-lock.json benchmarks/peers/.npmrc
	@if command -v npm >/dev/null; then \
		echo 'installing the packages of node into .venv/peers-node' && \
		mkdir -p .venv/peers-node && \
		cp benchmarks/peers/package.json benchmarks/peers/package-lock.json benchmarks/peers/.npmrc .venv/peers-node/ && \
		cd .venv/peers-node && npm ci --ignore-scripts --loglevel=error && \
		touch ../../$@; \
	else \
		echo 'no npm: without the peers that run on node'; \
	fi
