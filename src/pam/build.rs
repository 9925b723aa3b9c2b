//! Link options of the module.

fn main() {
    // A home that never answers leaves a thread behind (see `session::acting`): its code has to
    // stay mapped when the host unloads the module with pam_end(3).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
    println!("cargo::rerun-if-changed=build.rs");
}
