//! Messages between a supervisor and the processes that it watches, with descriptors in them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longer than any message.
const LIMIT: usize = 64 * 1024;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub fn pair() -> (Self, Self) {
        let (one, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap();
        (Self(one), Self(other))
    }

    /// The end that this process was given.
    pub fn inherited() -> Self {
        // SAFETY: whoever starts the program gives it the descriptor.
        Self(unsafe { OwnedFd::from_raw_fd(super::CHANNEL) })
    }

    /// Sends a message.
    pub fn send(&self, message: &impl Serialize) {
        let bytes = serde_json::to_vec(message).unwrap();
        let parts = [IoSlice::new(&bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        // If the other end is gone, whoever waits for its answer hears of it.
        let _ = sendmsg::<()>(self.0.as_raw_fd(), &parts, &[], flags, None);
    }

    /// Waits for a message; an error if the other end is gone.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<(T, Option<OwnedFd>)> {
        let mut bytes = vec![0; LIMIT];
        let mut space = nix::cmsg_space!(i32);
        let mut with = None;
        let length = {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(descriptors) = control {
                    // SAFETY: the kernel has just made it for us.
                    with = descriptors
                        .first()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
                }
            }
            message.bytes
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((serde_json::from_slice(&bytes[..length])?, with))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
