//! A file server that behaves as NFS with root_squash: see [`pam_idtoken_tests::squash`].

fn main() {
    pam_idtoken_tests::squash::main(std::env::args_os().skip(1));
}
