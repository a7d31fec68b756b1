# `make help` lists the targets. The variables that a line of it names can be set on the command line.
GO ?= go
LINT = $(GO) tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help build test lint fmt generate generate-check vectors js browser fuzz bench cross campaign

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/carillon
	$(GO) build -o bin/ ./cmd/carillon

test: ## the gate: format, lint, generated files, cross builds, all tests with the race detector, JavaScript, browser
	@scripts/gate

lint: ## run the linters, the floors of the house among them
	$(LINT) run ./...
	cd tools && $(GO) tool golangci-lint run --config ../.golangci.yml ./...

fmt: ## format every Go file
	$(LINT) fmt
	cd tools && $(GO) tool golangci-lint fmt --config ../.golangci.yml

generate: vectors ## write every generated file anew
	cd tools && $(GO) run ./protogen

generate-check:
	$(GO) run ./spec/internal/gen -check
	cd tools && $(GO) run ./protogen -check

vectors: ## write the test vectors and the table of codes anew from the spec
	$(GO) run ./spec/internal/gen

js: ## sdk/js: types, build, tests
	cd sdk/js && npm ci && npm run typecheck && npm run build && npm test

browser: ## the shop, the dev page and EventSource in Chromium (needs chromium and php)
	cd e2e/browser && npm ci && npm test

fuzz: ## run every fuzz target for FUZZTIME (30s) each
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

bench: ## compare the benchmarks with the previous commit (COUNT=6 BENCH=. BASE=HEAD^)
	@scripts/bench

cross: ## build for the other platforms
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build ./...

campaign: ## what proves spec/guarantees.md, with full counts, and a browser's hidden page (COUNT=n for another; hours)
	CARILLON_CAMPAIGN=1 CARILLON_COUNT=$(COUNT) $(GO) test -count=1 -timeout 0 -v ./e2e ./e2e/badinput ./broker
	CARILLON_CAMPAIGN=1 $(GO) test -count=1 -timeout 0 -v ./plugins/store-bolt/...
	$(GO) test -count=1 -timeout 0 -v -run TestSubscribersGetTheLog ./broker -rapid.checks=20000
	CARILLON_CAMPAIGN=1 $(GO) test -count=1 -timeout 0 -v ./e2e/plugins
	cd e2e/browser && npm ci && CARILLON_CAMPAIGN=1 npm test
