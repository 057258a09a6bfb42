# make          build bin/watch, bin/serve, bin/mirror, man pages and completions
# make demo     run the three on a copy of the Go source tree (ONCE=1: end by itself)
# make test     everything CI runs (as root; it installs what it needs from Debian)
# make check    the quick part of it, under a minute
# make mutants  take each guard out and show the test that fails
# make deb      a Debian package in dist/ (also: make tarball, make image)
# make bench    side by side with rsync, nginx and others (SIZE=small: a few minutes; docs/performance.md)

GO         ?= go
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILDFLAGS := -trimpath -buildvcs=false -ldflags '-s -w -X tidemark/internal/cli.version=$(VERSION)'
PROGRAMS   := bin/watch bin/serve bin/mirror
FUZZTIME   ?= 5s

# $(call tagged,TAG,DIR,FLAGS): the tests of a package that need a build tag, and no others.
tagged = $(GO) test -tags $(1) $(3) -timeout 20m -run "$$(sh tools/tagged $(1) $(2))" ./$(2)

export CGO_ENABLED = 0
# For tests and vet, too: what is compiled once serves all of them.
export GOFLAGS := -trimpath $(filter-out -trimpath,$(GOFLAGS))

.PHONY: recipes build all man completions deps systemd demo test check lint interop filesystems soak copies mutants bench fuzz clean install packed deb tarball image packages $(PROGRAMS) \
	race-mirror race-watch race-others simulations scripts scripts-inotify std guards

build: all man completions
all: $(PROGRAMS)

$(PROGRAMS): bin/%:
	$(GO) build $(BUILDFLAGS) -o $@ ./cmd/$*

demo: all
	$(GO) build -o bin/demo ./e2e/demo
	bin/demo $(if $(ONCE),-once)

lint:
	@test -z "$$(gofmt -l cmd pkg internal e2e proof bench tools)" || { gofmt -l cmd pkg internal e2e proof bench tools; echo 'run gofmt -w on these'; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags interop ./pkg/mtree/...
	$(GO) vet -tags filesystems ./pkg/mtree/...
	$(GO) vet -tags systemd,packages ./e2e/...
	$(GO) -C tools vet ./...
	$(GO) -C tools/man vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	cd tools && $(GO) tool staticcheck ./...
	@sh .ci/rules

check: all lint
	CGO_ENABLED=1 $(GO) test -p 1 -race -short ./pkg/... ./internal/... ./cmd/...

# Installs the programs that the tests run, as root on Debian; elsewhere it names
# those that are missing.
deps:
	@sh tools/deps

# What runs one step at a time, by a seed or in one loop: the race detector finds nothing
# there, and makes it six to fourteen times slower.
UNRACED := ^(TestSimulat.*|TestBombs)$$

# The tests that flush most run in memory.
MIRROR := ./pkg/mtree/mirror

# What CI runs. Two lanes on two cores: when a target of a line ends, the next of it begins.
# race-watch lowers sysctls for moments, so it begins beside race-mirror, which hears nothing and
# takes longer. TestCrowd has the machine for itself.
BESIDE = $(MAKE) --no-print-directory --output-sync=target -j2

test: deps all lint
	CGO_ENABLED=1 $(GO) build -race ./...
	$(BESIDE) race-mirror race-watch race-others simulations std
	$(BESIDE) scripts guards scripts-inotify
	$(GO) test -timeout 20m -run TestCrowd ./pkg/mtree/serve
	$(BESIDE) filesystems interop
	$(BESIDE) oldfuzz copies systemd
	$(MAKE) demo ONCE=1

# With the race detector. -p 1: some tests lower sysctls of the whole machine while they run;
# those that do are in HEARING.
RACE    = CGO_ENABLED=1 $(GO) test -p 1 -race -timeout 20m -skip '$(UNRACED)'
HEARING = ./pkg/mtree/watch/... ./pkg/mtree/internal/notify/...
race-mirror:
	CGO_ENABLED=1 sh tools/memory $(GO) test -race -timeout 20m -skip '$(UNRACED)' $(MIRROR)
race-watch:
	$(RACE) $(HEARING)
race-others:
	$(RACE) $$($(GO) list ./pkg/... ./internal/... ./cmd/... | grep -vE '/mtree/(mirror|watch(/.*)?|internal/notify(/.*)?)$$')

simulations:
	$(GO) test -p 1 -timeout 20m -run '$(UNRACED)' ./pkg/mtree/watch ./pkg/mtree/mirror

# The programs, as users run them.
scripts:
	$(GO) test -timeout 20m ./e2e/... ./proof/... ./bench/...
scripts-inotify:
	TIDEMARK_WATCH_BACKEND=inotify $(GO) test -timeout 20m -run TestScripts ./e2e/...

# Over net/http alone.
std:
	TIDEMARK_TEST_HTTP=std sh tools/memory $(GO) test -timeout 20m -run 'Once|Run|Since|Ahead|Part|Continued|Torn|Proxy|Shrinks|Takeover|Room' $(MIRROR)/...
	TIDEMARK_TEST_HTTP=std $(GO) test -timeout 20m -skip 'TestAnswers|TestCrowd' ./pkg/mtree/serve

guards:
	$(GO) -C tools test ./...
	$(GO) -C tools/man test -count=1 ./...
	$(MAKE) mutants SAMPLE=1

# With the programs that deps installs; a missing program fails.
interop:
	$(call tagged,interop,pkg/mtree/serve)
	$(call tagged,interop,pkg/mtree/mirror)

# As root: watch on ext4, xfs, btrfs, tmpfs, overlayfs and FUSE, with changes by real
# programs, and with less than its rights; serve on a disk that fails.
filesystems:
	$(call tagged,filesystems,pkg/mtree/watch,-parallel 4)
	$(call tagged,filesystems,pkg/mtree/serve)

# For hours: all tests that look for lost changes, wrong deletions and torn files, on new
# seeds, and a table of what they tried. ONLY=world,wire: these parts.
SOAK ?= 1h
soak:
	$(GO) run ./proof/soak -for $(SOAK) $(if $(ONLY),-only $(ONLY))

# As root: copies on ext4, xfs and btrfs that lose their power in the middle of a
# pass, are full, keep whole seconds, or fold case.
copies:
	$(call tagged,filesystems,pkg/mtree/mirror,-parallel 4)

# As root: the three units under a booted Debian in a container. About a minute.
systemd: all
	$(call tagged,systemd,e2e/systemd)

# As root: the Debian package, the tarball and the image are made twice alike; a booted Debian
# installs, upgrades, removes and purges the package. Not in make test: nfpm alone takes
# most of a minute to build.
packages:
	@sh tools/deps lintian=lintian buildah=buildah
	$(call tagged,packages,e2e/systemd)

# As root: docs/install.md and what README says of installing, as they stand there, in a booted Debian with
# nginx and Caddy; its containers by Podman. Not in make test: it makes package and image first.
recipes:
	@sh tools/deps buildah=buildah podman=podman runc=runc
	$(MAKE) deb image
	$(call tagged,recipes,e2e/systemd)

# Every fuzz target of the module, FUZZTIME each: a new one is found by itself. FUZZ names
# packages. make test runs those whose targets have found nothing for hours; the others run
# there with their seeds only, and with time in make soak.
OLDFUZZ := ./pkg/mtree ./pkg/mtree/wire ./pkg/mtree/mirror/internal/source/autoindex ./pkg/mtree/internal/fastpath
oldfuzz:
	$(MAKE) fuzz FUZZ='$(OLDFUZZ)' FUZZTIME=1s
FUZZ    ?=
fuzz:
	FUZZTIME=$(FUZZTIME) sh tools/fuzz $(FUZZ)

# Takes each marked guard out and shows the test that fails; with HEART=1 generated
# mutants of the packages in tools/mutants/heart.txt, with SAMPLE=1 only the guards whose
# tests take no time. ONLY is a regular expression for files.
mutants:
	$(GO) -C tools build -o ../bin/mutants ./mutants
	bin/mutants $(if $(HEART),-generated) $(if $(SAMPLE),-sample -quiet) $(if $(ONLY),-only '$(ONLY)')

# With Debian's peers (sh bench/deps installs them) on a quiet machine: an hour and a half, 10 GB of memory.
# SIZE=small: some minutes. BENCH are more options of bench/all.
SIZE ?= full
bench: all
	$(GO) build -o bin/bench ./bench/all
	bin/bench -size $(SIZE) $(BENCH)

# Man pages: Markdown of docs/man, with the options that --help tells and the exit codes of docs/cli.md.
MANPAGES := $(patsubst docs/man/%.md,build/man/%,$(wildcard docs/man/*.md))
man: $(MANPAGES)

bin/man: $(wildcard tools/man/*.go tools/man/go.*)
	$(GO) -C tools/man build -o ../../bin/man .

build/man/tidemark-%.1: docs/man/tidemark-%.1.md docs/cli.md bin/% bin/man
	@mkdir -p build/man
	bin/$* --help >$@.help
	bin/man -cli docs/cli.md -help $@.help $< >$@.new
	@rm $@.help && mv $@.new $@

build/man/%: docs/man/%.md bin/man
	@mkdir -p build/man
	bin/man $< >$@.new
	@mv $@.new $@

# What the three programs print by themselves: NAME completion bash.
completions: all
	@mkdir -p build/completions/bash build/completions/zsh build/completions/fish
	for p in watch serve mirror; do \
		bin/$$p completion bash >build/completions/bash/tidemark-$$p && \
		bin/$$p completion zsh >build/completions/zsh/_tidemark-$$p && \
		bin/$$p completion fish >build/completions/fish/tidemark-$$p.fish || exit; \
	done

# What make has built, for the next start of the machine: it builds nothing, so that nothing in
# bin belongs to root. "man" and "completions" are installed if they were made.
PREFIX ?= /usr/local
install:
	@packaging/install '$(DESTDIR)' '$(PREFIX)'

# The installed names are prefixed: watch(1) is taken on every system.
#
# Packages, in dist/. Two builds of one commit are equal byte by byte: all times in them are
# SOURCE_DATE_EPOCH, by default that of the commit.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# ARCH=arm64, as Go names it, is for another machine.
HOSTARCH  = $(shell $(GO) env GOHOSTARCH)
ARCH     ?= $(HOSTARCH)
PACKED    = $(if $(filter $(HOSTARCH),$(ARCH)),bin,build/bin-$(ARCH))
PACK      = SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' VERSION='$(VERSION)' ARCH='$(ARCH)' BIN='$(PACKED)'
packed: build
	$(if $(filter bin,$(PACKED)),,for p in watch serve mirror; do GOARCH=$(ARCH) $(GO) build $(BUILDFLAGS) -o $(PACKED)/$$p ./cmd/$$p || exit; done)
deb: packed
	$(PACK) packaging/deb/build
tarball: packed
	$(PACK) packaging/tarball
image: packed
	$(PACK) packaging/image

clean:
	rm -rf bin build dist .demo
