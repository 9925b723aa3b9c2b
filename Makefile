# Each target is complete by itself on a new machine: it installs what is
# missing (as root or through sudo), or says what to install.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr
# Where libpam looks for modules: Debian's multiarch directory, else Red Hat's.
# A Debian host that only installs has neither dpkg-dev nor gcc to ask for it.
MULTIARCH = $(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null || \
              { cd /usr/lib && ls -d $$(uname -m)-linux-gnu; } 2>/dev/null)
PAMDIR  ?= $(if $(MULTIARCH),/usr/lib/$(MULTIARCH)/security,/usr/lib64/security)
SBINDIR ?= $(PREFIX)/sbin
DOCDIR  ?= $(PREFIX)/share/doc/pam_idtoken
UNITDIR ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR  ?= $(PREFIX)/share/man
# Debian's zsh looks in share/zsh/vendor-completions.
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
# What the units are allowed to write to; state_dir of the configuration.
STATEDIR ?= /var/lib/pam_idtoken

BUILT   ?= $(or $(CARGO_TARGET_DIR),target)/release
# What the tests, the demonstrations and the benchmark are made of.
PROGRAMS = $(or $(CARGO_TARGET_DIR),target)/tests
TESTS    = --profile tests --locked -p pam_idtoken_tests
# What packages are for, what they are made of, and where they go.
ARCH     ?= $(shell uname -m)
PORTABLE = $(or $(CARGO_TARGET_DIR),target)/portable/$(ARCH)-unknown-linux-gnu/release
PACKAGED ?= $(PORTABLE)
PACKAGES ?= $(or $(CARGO_TARGET_DIR),target)/packages
DEB_ARCH = $(subst aarch64,arm64,$(subst x86_64,amd64,$(ARCH)))
UNITS    = pam_idtoken-reconcile.service pam_idtoken-reconcile.timer pam_idtoken-reconcile.path \
           run-pam_idtoken-tokens.mount
SOURCES  = Cargo.toml Cargo.lock $(shell find src -name '*.rs' -o -name Cargo.toml)
VERSION  = $(shell tools/version)
# What everything in a package bears as its time.
COMMITTED = $(shell tools/source-date)
# Pools of booted hosts are made by root.
AS_ROOT  = $(if $(filter 0,$(shell id -u)),,sudo -nE)
FOR_BUILD = gcc libc6-dev libpam0g-dev
FOR_DEMO  = $(FOR_BUILD) libnss-wrapper
FOR_DEB   = debhelper dpkg-dev
FOR_RPM   = rpm
FOR_TEST  = $(FOR_DEMO) binutils bindfs e2fsprogs fuse3 gdb iproute2 mmdebstrap openssh-client \
            systemd-container valgrind

.PHONY: build demo demo-pool test ring1 ring2 ring3 bench load install documents lint lint-fuzz setup clean
.PHONY: proof hostile faults fuzz leaks sanitize cores
.PHONY: deb rpm portable dist sbom

build: setup-build
	$(CARGO) build --release --locked --quiet -p pam_idtoken -p idtokenctl
	@touch $(BUILT)/libpam_idtoken.so $(BUILT)/idtokenctl

demo: setup-demo build
	$(CARGO) build $(TESTS) --quiet --bins
	$(PROGRAMS)/demo

demo-pool: setup build
	$(CARGO) build $(TESTS) --quiet --bins
	$(AS_ROOT) $(PROGRAMS)/demo-pool

test: ring1 ring2 ring3

ring1: setup-build
	$(CARGO) test --locked --workspace --exclude pam_idtoken_tests

ring2: setup build
	$(CARGO) build $(TESTS) --quiet --bins --examples
	$(CARGO) test $(TESTS) --lib --test ring2

ring3: setup build deb
	$(CARGO) build $(TESTS) --quiet --bins
	$(CARGO) test $(TESTS) --test ring3 --no-run
	$(AS_ROOT) $(CARGO) test $(TESTS) --test ring3

# What hostile users do, on a booted host and through libpam. HOSTILE_ROUNDS is for longer races: how
# often sessions open, are renewed and close while what they use is swapped.
hostile: setup build
	$(CARGO) build $(TESTS) --quiet --bins --examples
	$(CARGO) test $(TESTS) --test hostile --no-run
	$(AS_ROOT) $(CARGO) test $(TESTS) --test hostile

# Open, close and reconcile with each of their system calls failing, in each way that it can. CASES
# are parts of names of what is run, CALL is the name of a system call, and FAULT a part of what goes
# wrong. A sixth of all runs is made, another one each day; FULL=1 makes all of them.
faults: setup build
	$(CARGO) build $(TESTS) --quiet --bins --examples
	$(CARGO) test $(TESTS) --quiet --test faults --no-run
	CALL=$(CALL) FAULT='$(FAULT)' FULL=$(FULL) $(AS_ROOT) $(CARGO) test $(TESTS) --quiet --test faults -- $(CASES)

bench: setup build
	$(CARGO) build $(TESTS) --quiet --bins
	$(AS_ROOT) $(PROGRAMS)/bench-pool
	$(AS_ROOT) $(PROGRAMS)/bench-reconcile

# What is proved, as a table with what was counted: rings 1 to 3, whose logs, records and cores are
# searched for keys and tokens, hostile users, faults at every system call, and each fuzz target for
# a few seconds.
PROOFS ?= test hostile faults fuzz
proof:
	@tools/proof $(PROOFS)

# As many logins as this machine takes, and many sessions held open; about five minutes.
LOGINS   ?= 500
AT_ONCE  ?= 50
USERS    ?= 20
HELD     ?= 10000
load: setup build
	$(CARGO) build $(TESTS) --quiet --bins
	$(AS_ROOT) $(PROGRAMS)/load-pool $(LOGINS) $(AT_ONCE) $(USERS)
	$(AS_ROOT) $(PROGRAMS)/load-held $(HELD)

# Each parser of what is not ours, from the corpus that is kept: TARGETS of fuzz/targets, or all.
SECONDS_EACH ?= 8
TARGETS      ?=
fuzz: setup-build
	@tools/need g++ xz-utils
	@tools/fuzz $(SECONDS_EACH) $(TARGETS)

# What sessions lose: with valgrind, and ROUNDS of them in one process.
ROUNDS ?= 20000
leaks: setup build
	$(CARGO) build $(TESTS) --quiet --bins --examples
	$(AS_ROOT) env IDTOKEN_ROUNDS=$(ROUNDS) $(CARGO) test $(TESTS) --test ring2 -- leak

# Ring 2 with sanitizers.
sanitize: setup
	$(AS_ROOT) tools/sanitize

# Cores of hosts and of idtokenctl, without keys and tokens; every test of rings 2 and 3 looks through
# what was logged, written and said.
cores: setup build
	$(CARGO) build $(TESTS) --quiet --bins --examples
	$(AS_ROOT) $(CARGO) test $(TESTS) --test ring2 -- 'a core of'

# What packages are made of: loads wherever glibc is 2.28 or later, and the same commit gives the
# same bytes with the same rustc. ARCH is x86_64 or aarch64.
portable: setup-cargo
	@tools/need gcc libc6-dev
	@tools/portable $(ARCH)

# The package of Debian and Ubuntu.
deb: $(if $(filter $(PORTABLE),$(PACKAGED)),portable)
	@tools/need $(FOR_DEB)
	@packaging/deb/build $(PACKAGED) $(PACKAGES) $(DEB_ARCH)

# The rpm of Enterprise Linux and Fedora.
rpm: $(if $(filter $(PORTABLE),$(PACKAGED)),portable)
	@tools/need $(FOR_RPM)
	@install -d $(PACKAGES)
	@SOURCE_DATE_EPOCH=$(COMMITTED) rpmbuild -bb --quiet --target $(ARCH)-linux \
		--define "idtoken_version $(VERSION)" --define "idtoken_built $(abspath $(PACKAGED))" \
		--define "_builddir $(CURDIR)" --define "_rpmdir $(abspath $(PACKAGES))" \
		--define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
		--define "_topdir $(abspath $(PACKAGES))/rpmbuild" packaging/rpm/pam-idtoken.spec

# Builds only what is not there or older than its source, so that root need not build after
# `make build`.
install: $(BUILT)/libpam_idtoken.so $(BUILT)/idtokenctl
	install -d $(addprefix $(DESTDIR),$(PAMDIR) $(SBINDIR) $(DOCDIR)/docs $(UNITDIR) $(TMPFILESDIR) \
		$(MANDIR)/man5 $(MANDIR)/man8 $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	install -m 644 $(BUILT)/libpam_idtoken.so $(DESTDIR)$(PAMDIR)/pam_idtoken.so
	install -m 755 $(BUILT)/idtokenctl $(DESTDIR)$(SBINDIR)/idtokenctl
	install -m 644 README.md docs/pam_idtoken.toml pam.d/debian-sshd pam.d/redhat-sshd \
		$(DESTDIR)$(DOCDIR)/
	install -m 644 packaging/man/pam_idtoken.toml.5 $(DESTDIR)$(MANDIR)/man5/
	install -m 644 packaging/man/pam_idtoken.8 packaging/man/idtokenctl.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 packaging/completions/idtokenctl.bash $(DESTDIR)$(BASHDIR)/idtokenctl
	install -m 644 packaging/completions/_idtokenctl $(DESTDIR)$(ZSHDIR)/
	install -m 644 packaging/completions/idtokenctl.fish $(DESTDIR)$(FISHDIR)/
	install -m 644 docs/*.md $(DESTDIR)$(DOCDIR)/docs/
	for unit in $(UNITS); do \
		sed -e 's|@SBINDIR@|$(SBINDIR)|; s|@DOCDIR@|$(DOCDIR)|; s|@STATEDIR@|$(STATEDIR)|' \
			packaging/systemd/$$unit > $(DESTDIR)$(UNITDIR)/$$unit && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	sed -e 's|@STATEDIR@|$(STATEDIR)|' packaging/tmpfiles/pam_idtoken.conf \
		> $(DESTDIR)$(TMPFILESDIR)/pam_idtoken.conf
	chmod 644 $(DESTDIR)$(TMPFILESDIR)/pam_idtoken.conf

# Where somebody says what to install (BUILT=...), it is there.
ifeq ($(origin BUILT),file)
$(BUILT)/libpam_idtoken.so $(BUILT)/idtokenctl: $(SOURCES)
	$(MAKE) --no-print-directory build
endif

# The commit that is checked out as a source archive with all its crates, in target/packages: it
# builds without a network.
dist: setup-cargo
	@tools/dist

# What is in the module and in idtokenctl, as CycloneDX, in target/packages.
sbom: setup-cargo
	@tools/need gcc libc6-dev
	@tools/sbom

# The manual page and the completions of idtokenctl: a test fails where they are out of date.
documents: setup-build
	IDTOKEN_WRITE_DOCUMENTS=1 $(CARGO) test --locked --quiet -p idtokenctl documents

lint: setup-build
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet

# The same for what is fuzzed, which is no member of the workspace.
lint-fuzz: setup-build
	@tools/need g++
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml -- --check
	RUSTFLAGS="--cfg fuzzing" $(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --all-targets --quiet \
		--target-dir $(or $(CARGO_TARGET_DIR),target)/fuzz-lint -- -D warnings

setup: setup-cargo
	@tools/need $(FOR_TEST)

.PHONY: setup-build setup-demo setup-cargo
setup-build: setup-cargo
	@tools/need $(FOR_BUILD)

setup-demo: setup-cargo
	@tools/need $(FOR_DEMO)

setup-cargo:
	@command -v $(CARGO) >/dev/null || { echo "Install Rust 1.89 or later: https://rustup.rs"; exit 1; }

clean:
	$(CARGO) clean
