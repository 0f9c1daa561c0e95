# `make` lists what there is to do. Everything but `clients` needs Go only.

SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s
ARGS        ?=

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/slipway.
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/slipway ./cmd/slipway

.PHONY: run
run: build ## Build and serve a registry on 127.0.0.1:5000 (ARGS='--listen ...' for more).
	@exec bin/slipway serve $(ARGS)

.PHONY: demo
demo: build ## Show a registry at work in a temporary directory: push, pull, referrers, delete.
	@bin/slipway demo

.PHONY: test
test: ## Vet and test everything, the OCI conformance suite included.
	go vet ./...
	go test ./...

.PHONY: check
check: ## What a change has to pass: formatting, vet, staticcheck, tests with the race detector.
	@unformatted=$$(gofmt -l *.go cmd internal scripts); \
	if [[ -n $$unformatted ]]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	go test -race ./...

.PHONY: standins
standins: ## The AWS engines against stand-ins for DynamoDB and S3 (moto_server, minidyn, versitygw).
	SLIPWAY_STANDINS=1 go test -count=1 ./internal/meta/table/dynamo/... ./internal/blob/...

.PHONY: conformance
conformance: ## The OCI conformance suite alone, with its report.
	go test -count=1 -v ./internal/conformance

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (20s).
	@set -euo pipefail; \
	grep -rl --include='*_test.go' '^func Fuzz' internal cmd | while read -r file; do \
	  sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file" | while read -r target; do \
	    echo "== $$target in $$(dirname "$$file")"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")"; \
	  done; \
	done

.PHONY: clients
clients: ## Push and pull with real clients (installs them; Docker, ctr and buildah need root).
	scripts/clients $(ARGS)

.PHONY: bench
bench: build ## Measure against other registries; writes docs/PERFORMANCE.md.
	go run ./scripts/bench $(ARGS)

.PHONY: clean
clean: ## Remove what was built (never ./data).
	rm -rf bin
