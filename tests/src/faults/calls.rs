//! The system calls that open, close and reconcile make, and the errors that each can give.
//!
//! They are those of the manual pages (section 2), and of file systems over a network and on disks
//! that fail: EIO, ESTALE, EDQUOT, EINTR. Left out is what only a wrong argument gives (EFAULT, EBADF,
//! EINVAL), which no state of a machine brings about. A call that is not in here makes the harness
//! fail: nobody has thought about it.

use libc::{
    E2BIG, EACCES, EAGAIN, EBUSY, ECHILD, ECONNREFUSED, ECONNRESET, EDQUOT, EEXIST, EFBIG, EINTR,
    EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMLINK, EMSGSIZE, ENETDOWN, ENFILE, ENOBUFS, ENODEV,
    ENOENT, ENOEXEC, ENOLCK, ENOMEM, ENOSPC, ENOSYS, ENOTCONN, ENOTDIR, ENOTEMPTY, ENXIO,
    EOVERFLOW, EPERM, EPIPE, EROFS, ESRCH, ESTALE, ETXTBSY, EUSERS, EXDEV,
};

/// Numbers, names and errors.
macro_rules! calls {
    ($($(#[$only:meta])* $number:ident: [$($errno:expr),*];)*) => {
        /// Name and errors of a system call; none if it is not known.
        pub(super) fn call(number: i64) -> Option<(&'static str, &'static [i32])> {
            match number {
                $($(#[$only])* libc::$number => Some((&stringify!($number)["SYS_".len()..], &[$($errno),*])),)*
                _ => None,
            }
        }
    };
}

calls! {
    // Files by name. What only a call that makes something gives is left out by `errnos` elsewhere.
    // Of what is there unlink(2) and stat(2) do not say ENOENT: a token of which a file server says so
    // is one that its user removed.
    SYS_openat: [EACCES, EDQUOT, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENXIO,
        EPERM, EROFS, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_open: [EACCES, EDQUOT, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENXIO,
        EPERM, EROFS, ESTALE];
    SYS_newfstatat: [EACCES, EINTR, EIO, ELOOP, ENOMEM, ENOTDIR, ESTALE];
    SYS_statx: [EACCES, EINTR, EIO, ELOOP, ENOMEM, ENOTDIR, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_stat: [EACCES, EINTR, EIO, ELOOP, ENOMEM, ENOTDIR, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_lstat: [EACCES, EINTR, EIO, ELOOP, ENOMEM, ENOTDIR, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_access: [EACCES, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, EROFS, ESTALE];
    SYS_faccessat: [EACCES, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, EROFS, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_readlink: [EACCES, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, ESTALE];
    SYS_readlinkat: [EACCES, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_mkdir: [EACCES, EDQUOT, EEXIST, EIO, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS,
        ESTALE];
    SYS_chdir: [EACCES, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, ESTALE];
    SYS_mkdirat: [EACCES, EDQUOT, EEXIST, EIO, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM,
        EROFS, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_unlink: [EACCES, EBUSY, EDQUOT, EINTR, EIO, EISDIR, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS,
        ESTALE];
    SYS_unlinkat: [EACCES, EBUSY, EDQUOT, EINTR, EIO, EISDIR, ENOMEM, ENOSPC, ENOTDIR, ENOTEMPTY,
        EPERM, EROFS, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_rmdir: [EACCES, EBUSY, EIO, ENOENT, ENOMEM, ENOTDIR, ENOTEMPTY, EPERM, EROFS, ESTALE];
    #[cfg(target_arch = "x86_64")]
    SYS_rename: [EACCES, EBUSY, EDQUOT, EINTR, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS, ESTALE, EXDEV];
    SYS_renameat: [EACCES, EBUSY, EDQUOT, EINTR, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS, ESTALE, EXDEV];
    SYS_renameat2: [EACCES, EBUSY, EDQUOT, EEXIST, EINTR, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS,
        ESTALE, EXDEV];
    SYS_symlinkat: [EACCES, EDQUOT, EEXIST, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS, ESTALE];
    SYS_fchmodat: [EACCES, EINTR, EIO, ENOENT, ENOMEM, EPERM, EROFS, ESTALE];
    SYS_fchownat: [EACCES, EDQUOT, EIO, ENOENT, ENOMEM, EPERM, EROFS, ESTALE];
    SYS_utimensat: [EACCES, EIO, ENOENT, EPERM, EROFS, ESTALE];
    SYS_statfs: [EACCES, EINTR, EIO, ENOENT, ENOMEM, ENOSYS, ESTALE];

    // Files by descriptor. close(2) gives the descriptor back whatever it says, and so it does here.
    SYS_close: [EDQUOT, EINTR, EIO, ENOSPC];
    SYS_fstat: [EIO, ENOMEM, EOVERFLOW, ESTALE];
    SYS_read: [EINTR, EIO, ENOMEM, ESTALE];
    SYS_pread64: [EINTR, EIO, ENOMEM, ESTALE];
    SYS_readv: [EINTR, EIO, ENOMEM, ESTALE];
    SYS_write: [EDQUOT, EFBIG, EINTR, EIO, ENOMEM, ENOSPC, EPERM, EPIPE, ESTALE];
    SYS_writev: [EDQUOT, EFBIG, EINTR, EIO, ENOMEM, ENOSPC, EPERM, EPIPE, ESTALE];
    SYS_pwrite64: [EDQUOT, EFBIG, EINTR, EIO, ENOMEM, ENOSPC, EPERM, ESTALE];
    SYS_lseek: [EIO, ENXIO, EOVERFLOW, ESTALE];
    SYS_getdents64: [EINTR, EIO, ENOENT, ENOMEM, ESTALE];
    SYS_flock: [EAGAIN, EINTR, EIO, ENOLCK, ENOMEM];
    SYS_fchmod: [EINTR, EIO, ENOMEM, EPERM, EROFS, ESTALE];
    SYS_fchown: [EDQUOT, EIO, ENOMEM, EPERM, EROFS, ESTALE];
    SYS_ftruncate: [EINTR, EIO, EPERM, EROFS, ESTALE];
    SYS_fsync: [EDQUOT, EINTR, EIO, ENOSPC];
    SYS_fstatfs: [EINTR, EIO, ENOMEM, ENOSYS, ESTALE];
    SYS_fcntl: [EAGAIN, EINTR, EMFILE, ENOLCK];
    SYS_ioctl: [EINTR, EIO, ENODEV, ENOMEM];
    SYS_dup: [EMFILE];
    #[cfg(target_arch = "x86_64")]
    SYS_dup2: [EBUSY, EINTR, EMFILE];
    SYS_dup3: [EBUSY, EINTR, EMFILE];
    SYS_close_range: [EMFILE, ENOMEM, ENOSYS];
    SYS_pipe2: [EMFILE, ENFILE, ENOMEM];
    #[cfg(target_arch = "x86_64")]
    SYS_poll: [EAGAIN, EINTR, ENOMEM];
    SYS_ppoll: [EAGAIN, EINTR, ENOMEM];
    SYS_memfd_create: [EMFILE, ENFILE, ENOMEM];
    SYS_inotify_init1: [EMFILE, ENFILE, ENOMEM];
    SYS_inotify_add_watch: [EACCES, ENOENT, ENOMEM, ENOSPC];

    // Mounts.
    SYS_mount: [EACCES, EBUSY, EMFILE, ENODEV, ENOENT, ENOMEM, ENOSPC, EPERM];
    SYS_umount2: [EBUSY, ENOENT, ENOMEM, EPERM];
    SYS_open_tree: [EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSYS, EPERM, ESTALE];
    SYS_move_mount: [EACCES, EBUSY, ELOOP, ENOENT, ENOMEM, ENOSPC, ENOSYS, EPERM];

    // The log.
    SYS_socket: [EACCES, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM];
    SYS_socketpair: [EMFILE, ENFILE, ENOBUFS, ENOMEM];
    SYS_connect: [EACCES, EAGAIN, ECONNREFUSED, EINTR, ENOENT, ENOMEM, EPERM];
    SYS_sendto: [EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, EMSGSIZE, ENETDOWN, ENOBUFS, ENOENT,
        ENOMEM, ENOTCONN, EPIPE];
    SYS_sendmsg: [EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, ENOBUFS, ENOMEM, ENOTCONN, EPIPE];
    SYS_recvfrom: [EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, ENOMEM];
    SYS_recvmsg: [EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, EMFILE, ENOMEM];
    SYS_setsockopt: [ENOBUFS, ENOMEM];
    SYS_getsockopt: [ENOBUFS];

    // Processes, threads and memory. With a function of the C library above them, which fails.
    SYS_clone: [EAGAIN, ENOMEM, ENOSPC, EPERM, EUSERS];
    SYS_clone3: [EAGAIN, ENOMEM, ENOSPC, ENOSYS, EPERM];
    #[cfg(target_arch = "x86_64")]
    SYS_fork: [EAGAIN, ENOMEM];
    #[cfg(target_arch = "x86_64")]
    SYS_vfork: [EAGAIN, ENOMEM];
    SYS_execve: [E2BIG, EACCES, EAGAIN, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOEXEC, ENOMEM, ENOTDIR,
        EPERM, ETXTBSY];
    SYS_wait4: [ECHILD, EINTR];
    SYS_waitid: [ECHILD, EINTR];
    SYS_kill: [EPERM, ESRCH];
    SYS_tgkill: [EAGAIN, ESRCH];
    SYS_pidfd_open: [EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, ESRCH];
    SYS_pidfd_send_signal: [ENOSYS, EPERM, ESRCH];
    SYS_setsid: [EPERM];
    SYS_setpgid: [EACCES, EPERM, ESRCH];
    SYS_unshare: [ENOMEM, ENOSPC, EPERM, EUSERS];
    SYS_mmap: [EAGAIN, ENFILE, ENOMEM];
    SYS_mremap: [EAGAIN, ENOMEM];
    SYS_mprotect: [ENOMEM];
    SYS_munmap: [ENOMEM];
    SYS_madvise: [EAGAIN, ENOMEM];
    SYS_getrandom: [EAGAIN, EINTR];
    SYS_setrlimit: [EPERM];
    SYS_prlimit64: [EPERM];
    SYS_adjtimex: [EPERM];
    SYS_nanosleep: [EINTR];
    SYS_clock_nanosleep: [EINTR];

    // Who one is. A module may be confined so that these are refused (seccomp, a user namespace).
    SYS_setgroups: [ENOMEM, EPERM];
    SYS_setuid: [EAGAIN, EPERM];
    SYS_setgid: [EPERM];
    SYS_setresuid: [EAGAIN, EPERM];
    SYS_setresgid: [EPERM];
    SYS_capset: [EPERM];
    SYS_capget: [EPERM];
    SYS_prctl: [EINVAL, EPERM];

    // What a futex(2) says by itself is only of a wait. The others have no error but for arguments
    // that are wrong: nothing but a kill comes between.
    SYS_futex: [EAGAIN, EINTR];
    SYS_setfsuid: [];
    SYS_setfsgid: [];
    SYS_brk: [];
    SYS_rt_sigaction: [];
    SYS_rt_sigprocmask: [];
    SYS_rt_sigtimedwait: [EAGAIN, EINTR];
    SYS_sigaltstack: [];
    SYS_getgroups: [];
    SYS_getresuid: [];
    SYS_getresgid: [];
    SYS_getpid: [];
    SYS_gettid: [];
    SYS_getppid: [];
    SYS_getuid: [];
    SYS_geteuid: [];
    SYS_getgid: [];
    SYS_getegid: [];
    SYS_umask: [];
    SYS_uname: [];
    SYS_sched_yield: [];
    SYS_sched_getaffinity: [];
    SYS_rseq: [];
    SYS_set_robust_list: [];
    SYS_set_tid_address: [];
    #[cfg(target_arch = "x86_64")]
    SYS_arch_prctl: [];
    SYS_membarrier: [];
    #[cfg(target_arch = "x86_64")]
    SYS_alarm: [];
}

/// The name of a system call.
pub fn name(number: i64) -> String {
    call(number).map_or_else(|| format!("call {number}"), |(name, _)| name.to_owned())
}
