# Bare make lists the targets. Each target first makes sure that its tools are
# there (tools/setup).

export PATH := $(PATH):/usr/local/go/bin
SHELL := /bin/sh
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

modules := appliances boot drivers libos tools
packages := $(modules:%=ampoule/%/...)
apps := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard appliances/*/main.go)))))
targets := virtio xen
images := $(foreach a,$(apps),$(targets:%=$a-%))

# What builds and boots must also work with, beside the release in go.work.
next_go := go1.27.1
staticcheck := honnef.co/go/tools/cmd/staticcheck@v0.8.2

GOAMD64 ?= v1
FUZZTIME ?= 10s
DURATION ?= 10m
go := go run

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'
	@for i in $(images); do printf '  %-14s %s\n' $$i "build dist/$$i/"; done
	@echo "  variables: CONFIG=FILE (images), IMAGE=FILE (run-xen), GOAMD64=v1|v3, FUZZTIME=10s, DURATION=10m (soak)"

.PHONY: setup
setup: ## install what is missing for all other targets
	@tools/setup/setup.sh build run test bench xen

# Pattern: setup for one purpose. (A pattern cannot be phony; no file has this name.)
need-%:
	@tools/setup/setup.sh $*

.PHONY: run
run: need-run dns-virtio ## build the DNS appliance, boot it in QEMU, ask it with dig
	@$(go) ampoule/tools/run dist/dns-virtio/dns.elf

# Any image with IMAGE=FILE, else the DNS appliance.
.PHONY: run-xen
run-xen: need-xen $(if $(IMAGE),,dns-xen) ## the same on real Xen, which itself runs in QEMU
	@$(go) ampoule/tools/xenrig $(if $(IMAGE),-image $(IMAGE),-dns www.example.org -once -image dist/dns-xen/dns.elf)

.PHONY: test
test: need-test ## all tests: units, fuzz seeds, guests in QEMU
	@$(go) ampoule/tools/testall

.PHONY: test-xen
test-xen: need-test need-xen ## the tests on real Xen, which runs in QEMU: not part of make test yet
	@$(go) ampoule/tools/testall -xen

.PHONY: test-go
test-go: need-test ## build and boot with the next Go release too
	@$(go) ampoule/tools/testgo -version $(next_go)

.PHONY: lint
lint: need-build ## gofmt, go vet, staticcheck, import directions
	@out=$$(gofmt -l $(modules)); [ -z "$$out" ] || { echo "gofmt -w these:"; echo "$$out"; exit 1; }
	@for m in $(modules); do (cd $$m && GOWORK=off go build ./...) || exit 1; done
	@go vet $(packages)
	@GOFLAGS="$$GOFLAGS -tags=ampoule" GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go vet $(filter-out ampoule/tools/...,$(packages))
	@$(go) ampoule/tools/archlint
	@$(go) $(staticcheck) $(packages)

.PHONY: fuzz
fuzz: need-build ## run every fuzz target for FUZZTIME
	@for p in $$(go list -f '{{.ImportPath}}={{.Dir}}' $(packages)); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $${p#*=}/*_test.go 2>/dev/null); do \
			echo "fuzz $$f in $${p%=*}"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $${p%=*} || exit 1; \
		done; done

.PHONY: bench
bench: need-bench $(filter echo-virtio dns-virtio,$(images)) ## guest instructions, smallest RAM and size of echo and dns
	@$(go) ampoule/tools/bench

.PHONY: soak
soak: need-test $(filter echo-virtio dns-virtio,$(images)) ## DURATION of mixed load and attacks in 32 MiB
	@$(go) ampoule/tools/soak -for $(DURATION)

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist

.PHONY: $(images)
$(images): need-build
	@$(go) ampoule/tools/mkimage -app $(firstword $(subst -, ,$@)) -target $(lastword $(subst -, ,$@)) \
		$(if $(CONFIG),-config $(CONFIG)) -goamd64 $(GOAMD64)

.DEFAULT:
	$(error unknown target "$@": make without a target lists them)
