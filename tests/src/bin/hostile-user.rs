//! What a hostile user runs on an access point: see [`pam_idtoken_tests::mischief`].

fn main() {
    pam_idtoken_tests::mischief::main(std::env::args_os().skip(1));
}
