//! What can go wrong at a call, by its number and arguments.

use serde::{Deserialize, Serialize};

use super::calls::call;
use super::instead;
use super::listener::Asked;

/// What is made to happen at a call instead of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// It fails with this errno.
    Errno(i32),
    /// It is done and fails with this errno all the same, as on a file server whose first answer was lost.
    Done(i32),
    /// It and every later call that can give this errno fails with it: what a full disk does, or a process
    /// that is out of descriptors, and not one answer that was lost.
    Lasting(i32),
    /// Half of what was asked for is read or written, which no error says.
    Short,
    /// It returns 0 and nothing is done: setfsuid(2), setfsgid(2) and brk(2) fail without an errno.
    Refused,
    /// The process that makes it gets SIGKILL.
    Kill,
    /// The host gets SIGKILL while another process makes it.
    KillHost,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(errno) => f.write_str(&errno_name(*errno)),
            Self::Done(errno) => write!(f, "{} though done", errno_name(*errno)),
            Self::Lasting(errno) => write!(f, "{} from then on", errno_name(*errno)),
            Self::Short => f.write_str("short"),
            Self::Refused => f.write_str("refused"),
            Self::Kill => f.write_str("SIGKILL"),
            Self::KillHost => f.write_str("SIGKILL of the host"),
        }
    }
}

/// What lasts when it happens: a disk that fails, is full or read-only, a limit that is reached, a home
/// that was unmounted by its server, a policy that refuses. An EINTR or EAGAIN that lasts is no state of a
/// machine, and of ENOMEM the C library dies: a thread for whose thread-local data there is no memory ends
/// its process.
const LASTING: [i32; 7] = [
    libc::EACCES,
    libc::EIO,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOSPC,
    libc::EROFS,
    libc::ESTALE,
];

/// The name of an errno, as in `ENOSPC`.
pub fn errno_name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}

/// Everything that can go wrong at this call, but for a kill; none if nobody has thought about it.
pub fn faults(asked: &Asked) -> Option<Vec<Fault>> {
    let errnos = errnos(asked)?;
    let lasting = errnos.clone().filter(|errno| LASTING.contains(errno));
    let refused = [libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_brk].contains(&asked.number);
    // Asked for nobody, or for no address, they only say how it is.
    let asks = matches!(asked.args[0] & 0xffff_ffff, 0 | 0xffff_ffff);
    let refused = (refused && !asks).then_some(Fault::Refused);
    let done: &[i32] = match asked.number {
        libc::SYS_unlinkat | libc::SYS_renameat => &[libc::EIO, libc::ENOENT, libc::ESTALE],
        _ => &[],
    };
    let done = done.iter().copied().map(Fault::Done);
    let short = instead::can_be_short(asked).then_some(Fault::Short);
    let once = errnos
        .map(Fault::Errno)
        .chain(done)
        .chain(short)
        .chain(refused);
    Some(once.chain(lasting.map(Fault::Lasting)).collect())
}

/// Whether a call gives an errno.
pub(super) fn gives(asked: &Asked, errno: i32) -> bool {
    errnos(asked).is_some_and(|mut errnos| errnos.any(|other| other == errno))
}

/// The errors that a call gives with its arguments; none if nobody has thought about it.
fn errnos(asked: &Asked) -> Option<impl Iterator<Item = i32> + Clone + use<'_>> {
    let (_, errnos) = call(asked.number)?;
    let errnos = errnos.iter().copied();
    Some(errnos.filter(|errno| can_be(asked, *errno)))
}

/// Whether a call gives an error with its arguments.
fn can_be(asked: &Asked, errno: i32) -> bool {
    let [first, second, third, ..] = asked.args;
    let flag = |flag: i32| u64::from(flag.cast_unsigned());
    match asked.number {
        libc::SYS_openat => {
            let makes = third & flag(libc::O_CREAT) != 0;
            let writes = third & flag(libc::O_ACCMODE) != 0;
            match errno {
                libc::EDQUOT | libc::ENOSPC => makes,
                libc::EROFS | libc::EPERM => makes || writes,
                _ => true,
            }
        }
        libc::SYS_mmap => errno != libc::ENFILE || asked.args[3] & flag(libc::MAP_ANONYMOUS) == 0,
        // FUTEX_WAIT and FUTEX_WAIT_BITSET; a wake that is not done would be no error but a loss.
        libc::SYS_futex => matches!(second & 0x7f, 0 | 9),
        libc::SYS_fcntl => match i32::try_from(second) {
            Ok(libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => errno == libc::EMFILE,
            Ok(libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK) => errno != libc::EMFILE,
            _ => false,
        },
        // LOCK_UN waits for nobody.
        libc::SYS_flock => second & flag(libc::LOCK_UN) == 0,
        // What asks and what names a thread is refused to nobody.
        libc::SYS_prctl => ![
            libc::PR_GET_DUMPABLE,
            libc::PR_SET_DUMPABLE,
            libc::PR_SET_NAME,
            libc::PR_GET_NAME,
        ]
        .contains(&i32::try_from(first).unwrap_or_default()),
        _ => true,
    }
}
