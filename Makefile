# o2ims: `make demo` shows it at work, `make test` proves it. Both install or build what
# they lack and keep it for the next time.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# One set of build flags for everything, linters included, so that the caches of Go and of
# golangci-lint are shared, by clones in other folders, too.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(filter-out -trimpath,$(GOFLAGS)) -trimpath)
# What computes is nice to what has to keep leases and time-outs beside it.
NICE := nice -n 10
LDFLAGS := -s -w -X main.version=$(VERSION)
CLUSTERS ?= 2
FUZZTIME ?= 10s
SOAK_CHANGES ?= 50000
FLEET ?= 500x10,3500x3

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

.PHONY: demo
demo: build ## A hub, two spokes, agents and the API on this machine, until Ctrl-C
	@bin/demo run --clusters $(CLUSTERS)

.PHONY: demo-up
demo-up: build ## The same in the background
	@bin/demo up --clusters $(CLUSTERS)

.PHONY: demo-down
demo-down: ## Stop what demo-up started
	@[[ -x bin/demo ]] || $(MAKE) build
	@bin/demo down

.PHONY: deploy
deploy: build ## Install the chart on the cluster of KUBECONFIG (VALUES=file.yaml, IMAGE=repository:tag)
	@bin/demo deploy $(if $(VALUES),--values $(VALUES)) $(if $(IMAGE),--image $(IMAGE))

.PHONY: undeploy
undeploy: build ## Remove what deploy installed
	@bin/demo undeploy

##@ Build

.PHONY: build
build: ## Build bin/o2ims and the developer tools
	@mkdir -p bin
	@echo "building o2ims $(VERSION) (about 3 min with an empty build cache)"
	@go build -ldflags "$(LDFLAGS)" -o bin/o2ims ./cmd/o2ims
	@go build -o bin/demo ./hack/demo

.PHONY: image
image: build ## Build the container image from the binary just built (buildah, no network)
	@hack/image.sh $(VERSION)

##@ Test

.PHONY: test
test: build test-packages ## Every test: units, then the real hub with real spokes
	@$(MAKE) --no-print-directory run-unit
	@$(BESIDE) run-e2e run-parts

.PHONY: test-packages
test-packages:
	@hack/debian.sh bubblewrap curl haproxy jq nginx pci.ids prometheus prometheus-alertmanager redis-server
	@command -v npm >/dev/null || hack/debian.sh npm

.PHONY: test-unit
test-unit: test-packages run-unit ## Tests that need no cluster

.PHONY: test-integration
test-integration: build test-packages ## Tests on a real hub with real spokes, and beside them those with other real parts
	@$(BESIDE) run-e2e run-parts

# Packages whose tests run against real parts when -short does not leave that out. The hub
# with spokes of test/e2e takes as long as all of these together.
REAL_PARTS := ./test/harness ./test/e2e/oldhub ./test/oidcprovider ./test/proxy ./test/contract/roles ./test/contract/tokens ./test/contract/proxies ./pkg/smo ./test/loss/... ./test/contract/store ./pkg/alert/...

# Runs targets side by side: most of their time passes with waiting.
BESIDE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)

.PHONY: run-unit run-e2e run-parts
run-unit:
	$(NICE) go test -short ./cmd/... ./pkg/... ./manifests/... ./charts/... ./test/...
run-e2e:
	go test -count=1 -timeout 30m ./test/e2e
run-parts:
	go test -count=1 -p 1 -timeout 30m $(REAL_PARTS)
	@$(MAKE) --no-print-directory test-loss-injected

.PHONY: test-loss-injected
test-loss-injected: ## The loss tests with losses on purpose: their checkers must notice
	go test -tags o2ims_inject_loss -count=1 -p 1 -timeout 10m -v -run NothingIsLost ./test/loss/...

.PHONY: test-race
test-race: ## Unit tests under the race detector
	CGO_ENABLED=1 $(NICE) go test -race -short ./pkg/...

.PHONY: soak
soak: ## The loss tests for long: SOAK_CHANGES changes and transitions while everything is killed
	O2IMS_LOSS_CHANGES=$(SOAK_CHANGES) go test -count=1 -p 1 -timeout 24h -v -run NothingIsLost ./test/loss/...
	@echo "the same with losses on purpose: the checkers must notice"
	$(MAKE) test-loss-injected

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME each
	@$(NICE) hack/fuzz.sh $(FUZZTIME)

.PHONY: conformance
conformance: ## Judge the server at URL with TOKEN (READER_TOKEN, CA, PROFILE=v1|default, ARGS)
	@go run ./test/contract/cmd/conformance $(if $(URL),--url $(URL)) $(if $(CA),--ca $(CA)) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)
conformance: export O2IMS_TOKEN := $(or $(TOKEN),$(O2IMS_TOKEN))
conformance: export O2IMS_TOKEN_READER := $(or $(READER_TOKEN),$(O2IMS_TOKEN_READER))

.PHONY: bench
bench: ## Benchmarks, with allocations
	go test -run '^$$' -bench . -benchmem ./pkg/... ./test/bench/...

.PHONY: bench-fleet
bench-fleet: build ## The manager at fleet size on a real hub (FLEET=clusters x nodes, about 15 min each)
	go test -count=1 -timeout 90m -v ./test/bench/fleet -args \
		-fleet.sizes=$(FLEET) -fleet.changes=150 -fleet.starts=3

##@ Check

.PHONY: generate
generate: ## Write deep copies and CRDs from pkg/apis
	@hack/generate.sh

.PHONY: lint
lint: ## gofmt and golangci-lint
	@hack/lint.sh

.PHONY: verify
verify: ## Fail when a generated or tidied file is out of date
	@hack/verify.sh

.PHONY: vulncheck
vulncheck: ## Known vulnerabilities, where the database can be reached
	@hack/vulncheck.sh

.PHONY: ci
ci: ## What CI runs
	@.ci/run

.PHONY: clean
clean: ## Remove what was built here (the cache of test binaries stays)
	rm -rf bin dist .demo
