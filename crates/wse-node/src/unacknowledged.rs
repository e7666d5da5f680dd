//! What a socket's other end has not acknowledged.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "no crate has a safe call of SIOCOUTQ"))]

use mio::net::TcpStream;

/// How many of the bytes that were written the other end's TCP has not acknowledged; of a connection that was reset, as it was then. The
/// end of the stream, if it `is_shut`, is no byte. Systems other than Linux are not asked: there it is 0.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(stream: &TcpStream, is_shut: bool) -> u64 {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the call writes one `int`, which lives here. SIOCOUTQ (tcp(7)) and TIOCOUTQ are one number.
    let told = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if told != 0 {
        // A connection always tells; if one did not, all could be missing.
        return u64::MAX;
    }
    // Linux counts the end as a byte until it is acknowledged.
    u64::from(bytes.unsigned_abs()).saturating_sub(u64::from(is_shut))
}

/// The same where nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(_stream: &TcpStream, _is_shut: bool) -> u64 {
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use super::*;

    /// A connection whose other end has a small buffer that nobody reads, full to the brim, and how much was written.
    fn full() -> (TcpStream, std::net::TcpStream, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        other.set_recv_buffer_size(4096).unwrap();
        other.connect(&listener.local_addr().unwrap().into()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let mut written = 0;
        loop {
            match stream.write(&[7; 50_000]) {
                Ok(some) => written += some as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return (stream, other.into(), written);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wait_for_end(stream: &mut TcpStream) {
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(stream, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(!events.is_empty(), "the end comes");
    }

    #[test]
    fn a_reset_leaves_it_as_it_was() {
        let (mut stream, other, written) = full();
        let before = unacknowledged(&stream, false);
        assert!(before > written / 2 && before < written, "{before} of {written}");
        socket2::SockRef::from(&other).set_linger(Some(Duration::ZERO)).unwrap();
        drop(other);
        wait_for_end(&mut stream);
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let after = unacknowledged(&stream, false);
        assert!(after > 0 && after <= before, "{after} of {before}");
    }

    #[test]
    fn the_end_of_the_stream_is_no_byte() {
        let (stream, mut other, written) = full();
        let before = unacknowledged(&stream, false);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(unacknowledged(&stream, true), before);
        let mut all = Vec::new();
        other.read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, written);
        assert_eq!(unacknowledged(&stream, true), 0);
    }
}
