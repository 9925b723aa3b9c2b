//! State directories that can not be used.

use pam_idtoken_tests::pool::Pool;

use super::{STATE, login_works, mended};

pub(super) fn missing(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh(&format!("rm -rf {STATE}"));
    mended(pool, "alice");
    assert_eq!(
        ap1.sh(&format!("stat -c '%a %U' {STATE} {STATE}/sessions")),
        "700 root\n700 root\n"
    );
}

pub(super) fn read_only(pool: &Pool) {
    let breaking = format!("mkdir -p -m 700 {STATE}; mount -t tmpfs -o ro,mode=700 tmpfs {STATE}");
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("umount {STATE}"),
        &["Read-only file system"],
    );
}

pub(super) fn full(pool: &Pool) {
    let breaking = format!(
        "mkdir -p -m 700 {STATE}; mount -t tmpfs -o size=64k,mode=700 tmpfs {STATE}; \
         cat /dev/zero >{STATE}/filler 2>/dev/null || true"
    );
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("umount {STATE}"),
        &["No space left on device"],
    );
}

pub(super) fn of_somebody_else(pool: &Pool) {
    let breaking = format!("mkdir -p -m 700 {STATE}; chmod 0777 {STATE}");
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("chmod 0700 {STATE}"),
        &[&format!("chmod 0755 {STATE}")],
    );
}
