//! The one message that a server sends to whoever connects: what the two xenstore keys say on Xen, and the pages.
//!
//! ```text
//! magic u64 | busy u32 | ring-ref u32 | port u32 | count u32 | count x (first reference u32, pages u32)
//! ```
//! with as many file descriptors (SCM_RIGHTS) as `count` says. Integers are in the order of the machine that both share.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use thiserror::Error;
use vchan::interface::MAX_RING_PAGES;

/// `vchan` and the version of this message.
const MAGIC: u64 = u64::from_le_bytes(*b"vchan\0\0\x01");

/// The control page and two rings.
const FILES: usize = 3;

const LONGEST: usize = 24 + 8 * FILES;

/// What is wrong with a server's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHello {
    /// Not of this length, or with something else in front.
    #[error("its first message is not of this protocol's form or version")]
    Form,
    /// A file for each run of pages, and no other.
    #[error("its first message carries {files} files for {runs} runs of pages")]
    Files {
        /// How many came.
        files: usize,
        /// How many were announced.
        runs: usize,
    },
    /// A run of pages that is none, too long, or over another one.
    #[error("its runs of pages overlap, are empty or too long")]
    Pages,
    /// The kernel failed to deliver it.
    #[error("its first message did not arrive: {0}")]
    Kernel(Errno),
}

/// The message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Another client is connected: come back later.
    pub busy: bool,
    /// What stands under `ring-ref`; unchecked.
    pub ring_ref: u32,
    /// What stands under `event-channel`; unchecked.
    pub port: u32,
    /// First reference and number of pages, for each file.
    pub pages: Vec<(u32, u32)>,
}

impl Hello {
    fn bytes(&self) -> Vec<u8> {
        let count = self.pages.len() as u32;
        let head = [u32::from(self.busy), self.ring_ref, self.port, count];
        let runs = self.pages.iter().flat_map(|&(first, pages)| [first, pages]);
        let words = head.into_iter().chain(runs).flat_map(u32::to_ne_bytes);
        MAGIC.to_ne_bytes().into_iter().chain(words).collect()
    }

    /// Reads the message strictly. What it names is legal in itself: every run has 1 to 256 pages and references other than
    /// 0 that no other run has.
    fn parse(message: &[u8]) -> Result<Self, BadHello> {
        let (magic, rest) = message.split_first_chunk().ok_or(BadHello::Form)?;
        let (words, []) = rest.as_chunks() else {
            return Err(BadHello::Form);
        };
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let mut next = || words.next().ok_or(BadHello::Form);
        let (busy, ring_ref, port, count) = (next()?, next()?, next()?, next()? as usize);
        let runs = rest.len().saturating_sub(16);
        if u64::from_ne_bytes(*magic) != MAGIC || busy > 1 || count > FILES || runs != 8 * count {
            return Err(BadHello::Form);
        }
        let mut pages: Vec<(u32, u32)> = Vec::with_capacity(count);
        for _ in 0..count {
            let (first, length) = (next()?, next()?);
            let end = first.checked_add(length).ok_or(BadHello::Pages)?;
            let apart = |&(other, pages): &(u32, u32)| end <= other || other + pages <= first;
            let long = length as usize > MAX_RING_PAGES;
            if first == 0 || length == 0 || long || !pages.iter().all(apart) {
                return Err(BadHello::Pages);
            }
            pages.push((first, length));
        }
        Ok(Self {
            busy: busy == 1,
            ring_ref,
            port,
            pages,
        })
    }
}

/// Sends the message, without waiting: the socket is new, so there is room.
pub(super) fn send(
    socket: impl AsFd,
    hello: &Hello,
    files: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let bytes = hello.bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::TOOBIG);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags).map(drop)
}

/// Receives the message, without waiting; `None` if the server has hung up instead. Files that came are ours, and closed
/// unless they are returned.
pub(super) fn receive(socket: impl AsFd) -> Result<Option<(Hello, Vec<OwnedFd>)>, BadHello> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    ) {
        Ok(received) => received,
        Err(Errno::CONNRESET | Errno::PIPE) => return Ok(None),
        Err(error) => return Err(BadHello::Kernel(error)),
    };
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            files.extend(more);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let cut = received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let message = bytes.get(..received.bytes).filter(|_| !cut);
    let hello = Hello::parse(message.ok_or(BadHello::Form)?)?;
    let (files_came, runs) = (files.len(), hello.pages.len());
    if files_came != runs {
        return Err(BadHello::Files {
            files: files_came,
            runs,
        });
    }
    Ok(Some((hello, files)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    fn hello(pages: &[(u32, u32)]) -> Hello {
        Hello {
            ring_ref: 1,
            port: 9,
            pages: pages.to_vec(),
            ..Hello::default()
        }
    }

    #[test]
    fn message_and_files_arrive() {
        let (server, client) = pair();
        let sent = hello(&[(1, 4), (5, 1)]);
        let files = [server.as_fd(), server.as_fd()];
        send(&server, &sent, &files).unwrap();
        let (received, files) = receive(&client).unwrap().unwrap();
        assert_eq!((received, files.len()), (sent, 2));
        drop((server, files));
        assert_eq!(receive(&client).unwrap().map(|(hello, _)| hello), None);
    }

    #[test]
    fn a_file_too_many_or_too_few_is_refused() {
        for (announced, came) in [(1, 0), (1, 2), (0, 1), (3, 2)] {
            let (server, client) = pair();
            let runs: Vec<_> = (0..announced).map(|run| (1 + run, 1)).collect();
            send(&server, &hello(&runs), &vec![server.as_fd(); came]).unwrap();
            let (files, runs) = (came, announced as usize);
            let error = receive(&client).unwrap_err();
            assert_eq!(error, BadHello::Files { files, runs });
        }
    }

    #[test]
    fn impossible_runs_are_refused() {
        for runs in [
            &[(0, 1)][..],
            &[(1, 0)],
            &[(1, 257)],
            &[(u32::MAX, 2)],
            &[(1, 4), (4, 1)],
            &[(4, 4), (1, 4)],
            &[(5, 1), (5, 1)],
        ] {
            assert_eq!(
                Hello::parse(&hello(runs).bytes()),
                Err(BadHello::Pages),
                "{runs:?}"
            );
        }
        let many = hello(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(Hello::parse(&many.bytes()), Err(BadHello::Form));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            busy: bool, ring_ref: u32, port: u32,
            pages in prop::collection::vec(1..=256u32, 0..=3),
        ) {
            let mut first = 1;
            let pages = pages.into_iter().map(|length| {
                first += length;
                (first - length, length)
            });
            let hello = Hello { busy, ring_ref, port, pages: pages.collect() };
            prop_assert_eq!(Hello::parse(&hello.bytes()), Ok(hello));
        }

        #[test]
        fn anything_may_come(
            mut message in prop::collection::vec(any::<u8>(), 0..80),
            magic: bool, count in 0..5u32,
        ) {
            if magic && message.len() >= 24 {
                message[..8].copy_from_slice(&MAGIC.to_ne_bytes());
                message[8..12].fill(0);
                message[20..24].copy_from_slice(&count.to_ne_bytes());
            }
            if let Ok(hello) = Hello::parse(&message) {
                prop_assert_eq!(hello.bytes(), message);
            }
        }
    }
}
