# Bare make lists the targets. Each target first makes sure that its tools are
# there (tools/setup).

export PATH := $(PATH):/usr/local/go/bin
SHELL := /bin/sh
.SUFFIXES:
.NOTPARALLEL: # two targets may build one tool; go has its own parallelism
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
SEED ?=
PROFILE ?= default
FUZZTIME ?= 10s
DURATION ?= 10m
PEERS ?= nsd,knot,nginx

# $(call from-caller,FILE) is relative to where make was called. make -C leaves
# that in PWD, but who calls make without a shell may leave something else there.
from-caller = $(if $(filter /%,$1),$1,$(firstword $(wildcard $(PWD)/$1 $(CURDIR)/$1) $(or $(PWD),$(CURDIR))/$1))

# For images only: make would pass it on to the host's tools as well.
unexport GOAMD64 SEED

# $(call tool,NAME) runs a command of tools/. go run would put a line of its own
# behind the one that says what is wrong.
tool = go build -o build/bin/ ampoule/tools/$1 && build/bin/$1

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'
	@for i in $(images); do printf '  %-14s %s\n' $$i "build dist/$$i/"; done
	@echo "  variables: CONFIG=FILE OUT=FOLDER GOAMD64=v1|v3 SEED=TEXT|random PROFILE=default|tiny (images), IMAGE=FILE (run-xen)"
	@echo "             FUZZTIME=10s, DURATION=10m (soak), PEERS=nsd,knot,nginx (bench; empty: none), DB=URL (audit)"

.PHONY: setup
setup: ## install what is missing for all other targets
	@tools/setup/setup.sh build run test bench xen

# Pattern: setup for one purpose. (A pattern cannot be phony; no file has this name.)
need-%:
	@tools/setup/setup.sh $*

.PHONY: run
run: need-run dns-virtio ## build the DNS appliance, boot it in QEMU, ask it with dig
	@$(call tool,run) dist/dns-virtio/dns.elf

# Any image with IMAGE=FILE, else the DNS appliance.
.PHONY: run-xen
run-xen: need-xen $(if $(IMAGE),,dns-xen) ## the same on real Xen, which itself runs in QEMU
	@$(call tool,xenrig) $(if $(IMAGE),-image '$(call from-caller,$(IMAGE))',-dns www.example.org -once -image dist/dns-xen/dns.elf)

.PHONY: test
test: need-test need-xen ## all tests: units, fuzz seeds, guests in QEMU and on real Xen
	@$(call tool,testall)

.PHONY: test-xen
test-xen: need-test need-xen ## only the tests on real Xen, which runs in QEMU
	@$(call tool,testall) -xen

.PHONY: test-go
test-go: need-test ## build and boot with the next Go release too
	@$(call tool,testgo) -version $(next_go)

.PHONY: lint
lint: need-build ## gofmt, go vet, staticcheck, import directions
	@out=$$(gofmt -l $(modules)); [ -z "$$out" ] || { echo "gofmt -w these:"; echo "$$out"; exit 1; }
	@for m in $(modules); do (cd $$m && GOWORK=off go build ./...) || exit 1; done
	@$(call tool,archlint) -overlay build/vet.json
	@go vet -overlay=build/vet.json $(packages)
	@for t in ampoule ampoule,xen; do \
		CGO_ENABLED=0 go vet -overlay=build/vet.json -tags=$$t $(filter-out ampoule/tools/...,$(packages)) || exit 1; done
	@$(call tool,archlint)
	@printf '%s\n' 'host:' 'virtio: -tags=ampoule' 'xen: -tags=ampoule,xen' | go run $(staticcheck) -matrix $(packages)

.PHONY: fuzz
fuzz: need-build ## run every fuzz target for FUZZTIME
	@for p in $$(go list -f '{{.ImportPath}}={{.Dir}}' $(packages)); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $${p#*=}/*_test.go 2>/dev/null); do \
			echo "fuzz $$f in $${p%=*}"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $${p%=*} || exit 1; \
		done; done

.PHONY: reproduce
reproduce: need-build ## build all images twice, elsewhere and as somebody else, and compare
	@$(call tool,reproduce) $(if $(SEED),-seed '$(SEED)') $(images)

.PHONY: audit
audit: need-build ## look up what is linked among the known vulnerabilities, with govulncheck
	@$(call tool,audit) $(if $(DB),-db '$(DB)') $(images)

.PHONY: bench
bench: need-bench $(filter echo-virtio dns-virtio tls-virtio,$(images)) ## guest instructions, smallest RAM and size; NSD, Knot and nginx beside ours
	@go build -o build/bin/ ampoule/tools/mkimage
	@$(call tool,bench) -peers '$(PEERS)' && build/bin/bench -http -peers '$(PEERS)' && build/bin/bench -tls

# size and graph: CONFIG and PROFILE as for images; APP=echo, TARGET=xen for others
# than dns-virtio.
.PHONY: size
size: need-build ## largest packages and symbols of an image (APP, TARGET), against its budget
	@$(call tool,size) -app $(or $(APP),dns) -target $(or $(TARGET),virtio) -profile $(PROFILE) \
		$(if $(CONFIG),-config '$(call from-caller,$(CONFIG))')

.PHONY: graph
graph: need-build ## which module each part of a configuration pulled in (CONFIG, APP, TARGET), and its bytes
	@$(call tool,graph) -app $(or $(APP),dns) -target $(or $(TARGET),virtio) -profile $(PROFILE) \
		$(if $(CONFIG),-config '$(call from-caller,$(CONFIG))') $(if $(OUT),-o '$(call from-caller,$(OUT))')

.PHONY: ampctl
ampctl: need-build ## build the operator's command, build/bin/ampctl
	@go build -o build/bin/ ampoule/tools/ampctl

.PHONY: soak
soak: need-test $(filter echo-virtio dns-virtio http-virtio,$(images)) ## DURATION of mixed load and attacks in 32 MiB
	@$(call tool,soak) -app echo,dns,http -for $(DURATION)

.PHONY: soak-dns
soak-dns: need-test dns-virtio ## dnsperf at full rate, then a spoofed flood, for a minute each in 16 MiB
	@$(call tool,mkimage) -app dns -target virtio -config tools/dnssoak/limited.toml -o build/dnssoak/
	@$(call tool,dnssoak) && build/bin/dnssoak -flood 20000 -image build/dnssoak/dns.elf

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist

.PHONY: $(images)
$(images): need-build
	@$(call tool,mkimage) -app $(firstword $(subst -, ,$@)) -target $(lastword $(subst -, ,$@)) \
		$(if $(CONFIG),-config '$(call from-caller,$(CONFIG))') $(if $(OUT),-o '$(call from-caller,$(OUT))/') \
		$(if $(SEED),-seed '$(SEED)') -goamd64 $(GOAMD64) -profile $(PROFILE)

.DEFAULT:
	$(error unknown target "$@": make without a target lists them)
