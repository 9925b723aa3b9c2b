# Each target is complete by itself on a new machine: it installs what is
# missing (as root or through sudo), or says what to install.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr
# Where libpam looks for modules: Debian's multiarch directory, else Red Hat's.
MULTIARCH = $(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null)
PAMDIR  ?= $(if $(MULTIARCH),/usr/lib/$(MULTIARCH)/security,/usr/lib64/security)

BUILT    = target/release
FOR_BUILD = gcc libc6-dev libpam0g-dev
FOR_DEMO  = $(FOR_BUILD) libnss-wrapper
FOR_TEST  = $(FOR_DEMO) binutils iproute2 mmdebstrap openssh-client systemd-container

.PHONY: build demo demo-pool test ring1 ring2 ring3 bench install lint setup clean

build: setup-build
	$(CARGO) build --release --locked --quiet -p pam_idtoken -p idtokenctl

demo: setup-demo build
	$(CARGO) build --release --locked --quiet -p pam_idtoken_tests --bins
	$(BUILT)/demo

demo-pool: setup build
	$(CARGO) build --release --locked --quiet -p pam_idtoken_tests --bins
	$(BUILT)/demo-pool

test: ring1 ring2 ring3

ring1: setup-build
	$(CARGO) test --locked --workspace --exclude pam_idtoken_tests

ring2: setup build
	$(CARGO) build --release --locked --quiet -p pam_idtoken_tests --bins
	$(CARGO) test --release --locked -p pam_idtoken_tests --lib --test ring2

ring3: setup build
	$(CARGO) build --release --locked --quiet -p pam_idtoken_tests --bins
	$(CARGO) test --release --locked -p pam_idtoken_tests --test ring3

bench: setup build
	$(CARGO) build --release --locked --quiet -p pam_idtoken_tests --bins
	$(BUILT)/bench-pool

install:
	@test -f $(BUILT)/libpam_idtoken.so || { echo "run make build first"; exit 1; }
	install -d $(DESTDIR)$(PAMDIR) $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/doc/pam_idtoken
	install -m 644 $(BUILT)/libpam_idtoken.so $(DESTDIR)$(PAMDIR)/pam_idtoken.so
	install -m 755 $(BUILT)/idtokenctl $(DESTDIR)$(PREFIX)/sbin/idtokenctl
	install -m 644 README.md docs/pam_idtoken.toml pam.d/debian-sshd pam.d/redhat-sshd \
		$(DESTDIR)$(PREFIX)/share/doc/pam_idtoken/

lint: setup-build
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet

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
