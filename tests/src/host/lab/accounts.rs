//! Who there is on the scratch host.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Lab, is_root, number};

/// uid and gid of alice, who has a home here.
pub const ALICE: u32 = 54_321;

/// Another user.
pub const BOB: u32 = 54_322;

/// The first of many.
const FIRST_USER: u32 = 60_000;

impl Lab {
    /// Makes the users `user0`, `user1` and so on, with a home each.
    pub fn add_users(&self, count: u32) {
        for number in 0..count {
            let home = format!("home/user{number}");
            fs::create_dir(self.path(&home)).unwrap();
            self.give(&home, FIRST_USER + number);
        }
        self.users.store(u64::from(count), Ordering::SeqCst);
    }

    /// Adds an account by its line of passwd, or puts it in front of one that is there.
    pub fn add_account(&self, name: &[u8], uid: u32, home: &Path) {
        let rest = format!(":x:{uid}:{uid}::{}:/bin/sh\n", home.display());
        let line = [name, rest.as_bytes()].concat();
        self.accounts.lock().unwrap().splice(0..0, line);
    }

    /// The uid that alice has here.
    #[allow(clippy::unused_self)]
    pub fn alice_uid(&self) -> u32 {
        alice_uid()
    }

    /// Writes passwd and group, as they are now, for the next program.
    pub(super) fn write_accounts(&self) {
        let group = format!(
            "root:x:0:\nalice:x:{uid}:\nbob:x:{BOB}:\npool:x:54400:alice,bob\n",
            uid = alice_uid()
        );
        for (name, text) in [("passwd", self.passwd()), ("group", group.into_bytes())] {
            // A host that has it open keeps what it has.
            let path = self.path("etc").join(name);
            if fs::read(&path).is_ok_and(|there| there == text) {
                continue;
            }
            // In one step: another program may be reading it.
            let new = self.path("etc").join(format!("{name}-{}", number()));
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }

    /// Who was added to it, those of every lab, and `user0` and so on.
    fn passwd(&self) -> Vec<u8> {
        let (uid, home) = (alice_uid(), self.path("home"));
        let home = home.display();
        let passwd = format!(
            "root:x:0:0::/root:/bin/sh\ncondor:x:77:77::/nowhere:/bin/sh\n\
             alice:x:{uid}:{uid}::{home}/alice:/bin/sh\nbob:x:{BOB}:{BOB}::{home}/bob:/bin/sh\n\
             ghost:x:54323:54323::{home}/none:/bin/sh\nAD\\carol:x:54324:54324::{home}/carol:/bin/sh\n\
             carol@ad.test:x:54324:54324::{home}/carol:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n"
        );
        let users = 0..u32::try_from(self.users.load(Ordering::SeqCst)).unwrap();
        let users = users.map(|number| {
            let id = FIRST_USER + number;
            format!("user{number}:x:{id}:{id}::{home}/user{number}:/bin/sh\n")
        });
        let passwd = passwd + &users.collect::<String>();
        [&self.accounts.lock().unwrap()[..], passwd.as_bytes()].concat()
    }
}

/// Alice is who runs the tests if that is not root.
pub(super) fn alice_uid() -> u32 {
    if is_root() {
        ALICE
    } else {
        nix::unistd::geteuid().as_raw()
    }
}
