//! A descriptor that can be read exactly while there is something to take: for programs whose event loop waits for descriptors.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use parking_lot::Mutex;

/// Rings while somebody is to come. Nobody reads the descriptor but this.
pub(crate) struct Bell {
    far: UnixStream,
    /// The end that is waited for, and whether it can be read.
    near: Mutex<(UnixStream, bool)>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (far, near) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        near.set_nonblocking(true)?;
        Ok(Self { far, near: Mutex::new((near, false)) })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.near.lock().0.as_raw_fd()
    }

    /// From here on the descriptor can be read, or not.
    pub(crate) fn set(&self, rings: bool) {
        let mut near = self.near.lock();
        if near.1 != rings {
            // One byte always has room, and is there when it was written. If the system says otherwise it is tried again by whoever comes next.
            let done = if rings { (&self.far).write(&[1]) } else { near.0.read(&mut [0]) };
            if done.is_ok() {
                near.1 = rings;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can_be_read(bell: &Bell) -> bool {
        let mut poll = mio::Poll::new().unwrap();
        let near = bell.near.lock().0.try_clone().unwrap();
        let mut near = mio::net::UnixStream::from_std(near);
        poll.registry().register(&mut near, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        events.iter().any(mio::event::Event::is_readable)
    }

    #[test]
    fn it_can_be_read_while_it_rings_however_often_it_is_told() {
        let bell = Bell::new().unwrap();
        for rings in [false, true, true, false, false, true, false] {
            bell.set(rings);
            assert_eq!(can_be_read(&bell), rings);
        }
    }
}
