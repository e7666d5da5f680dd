//! The PROXY protocol, versions 1 and 2: what a proxy that forwards TCP says before anything of the client's.
//!
//! The law is HAProxy's `proxy-protocol.txt`; the sections named below are its.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;

/// The longest header of version 1, its line end included (section 2.1).
pub const MAX_V1_BYTES: usize = 107;
/// The most bytes that may follow the first sixteen of version 2. The protocol allows 64 KiB; those who send TLVs need hundreds.
pub const MAX_V2_PAYLOAD: usize = 4096;

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;
/// A TLV without its value.
const TLV_FIXED: usize = 3;
const TLV_CRC32C: u8 = 0x03;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The beginning of a header.
    Partial,
    /// A header; the number is where it ends.
    Whole(Source, usize),
    /// None, or a wrong one; more bytes would not change that.
    Refused(ProxyHeaderError),
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This client's.
    Client(SocketAddr),
    /// The proxy's own (`LOCAL`): it looks whether the server is well.
    Local,
    /// A client's whose address the proxy does not know, or can't say in IP.
    Unknown,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// No line end within [`MAX_V1_BYTES`], or more than [`MAX_V2_PAYLOAD`] announced.
    #[error("the PROXY header is too long (107 bytes in version 1, 4096 after the first 16 in version 2)")]
    TooLong,
    /// Not the line that section 2.1 describes.
    #[error("the PROXY header of version 1 is malformed")]
    Line,
    /// The binary signature with a version that is not 2.
    #[error("the binary PROXY header is not of version 2")]
    Version,
    /// Neither LOCAL nor PROXY.
    #[error("the PROXY header has an unknown command")]
    Command,
    /// An address family or transport that is not assigned.
    #[error("the PROXY header has an unknown address family or transport")]
    Family,
    /// The announced length has no room for the addresses.
    #[error("the PROXY header is too short for its addresses")]
    Addresses,
    /// A TLV is longer than what is left of the header.
    #[error("the PROXY header has a malformed TLV")]
    Tlv,
    /// The CRC-32C does not fit the bytes.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

use ProxyHeaderError as E;

impl ProxyHeader {
    /// Reads the header at the start of `bytes`. One version is told from the other, and both from HTTP, by the first byte.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let read = if may_begin_with(bytes, V2_SIGNATURE) {
            version_2(bytes)
        } else if may_begin_with(bytes, V1_PREFIX) {
            version_1(bytes)
        } else {
            Err(E::Missing)
        };
        match read {
            Ok(None) => Self::Partial,
            Ok(Some((source, end))) => Self::Whole(source, end),
            Err(error) => Self::Refused(error),
        }
    }
}

/// Nothing yet; or a source and where the header ends.
type Read = Result<Option<(Source, usize)>, ProxyHeaderError>;

fn may_begin_with(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.
fn version_1(bytes: &[u8]) -> Read {
    let window = &bytes[..bytes.len().min(MAX_V1_BYTES)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < MAX_V1_BYTES { Ok(None) } else { Err(E::TooLong) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(E::Line)?;
    let rest = line.strip_prefix(V1_PREFIX).ok_or(E::Line)?;
    let text = std::str::from_utf8(rest).map_err(|_| E::Line)?;
    Ok(Some((line_source(text).ok_or(E::Line)?, end + 1)))
}

fn line_source(text: &str) -> Option<Source> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // "The receiver must ignore anything presented before the CRLF."
        return Some(Source::Unknown);
    }
    let words: [&str; 4] = words.collect::<Vec<_>>().try_into().ok()?;
    let [source, destination, source_port, destination_port] = words;
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    address(destination).and(port(destination_port))?;
    Some(client(address(source)?, port(source_port)?))
}

/// Digits alone: the parser of numbers would take a sign as well.
fn port(text: &str) -> Option<u16> {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn client(address: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), port))
}

/// Section 2.2: sixteen bytes, then as many as they say.
fn version_2(bytes: &[u8]) -> Read {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else { return Ok(None) };
    let [version, command] = nibbles(fixed[12]);
    let [family, transport] = nibbles(fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    match () {
        () if version != 2 => return Err(E::Version),
        () if command > 1 => return Err(E::Command),
        () if family > 3 || transport > 2 => return Err(E::Family),
        () if length > MAX_V2_PAYLOAD => return Err(E::TooLong),
        () => {}
    }
    let end = V2_FIXED + length;
    let Some(header) = bytes.get(..end) else { return Ok(None) };
    // Of a LOCAL header all else is ignored, and where family or transport are unspecified what follows is too.
    let source = match (command, family, transport) {
        (0, ..) => Source::Local,
        (_, 0, _) | (_, _, 0) => Source::Unknown,
        _ => proxied(header, family)?,
    };
    Ok(Some((source, end)))
}

fn nibbles(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf]
}

/// Source and destination address, source and destination port; a path has no port, and says nothing that an address could.
fn proxied(header: &[u8], family: u8) -> Result<Source, ProxyHeaderError> {
    let payload = &header[V2_FIXED..];
    let (source, len) = match family {
        1 => (payload.first_chunk::<4>().map(|octets| IpAddr::from(*octets)), 4 + 4 + 2 + 2),
        2 => (payload.first_chunk::<16>().map(|octets| IpAddr::from(*octets)), 16 + 16 + 2 + 2),
        _ => (None, 108 + 108),
    };
    if payload.len() < len {
        return Err(E::Addresses);
    }
    check_tlvs(header, V2_FIXED + len)?;
    let port = u16::from_be_bytes([payload[len - 4], payload[len - 3]]);
    Ok(source.map_or(Source::Unknown, |address| client(address, port)))
}

/// They are passed over, all but the checksum: who sends one wants it checked (section 2.2.5).
fn check_tlvs(header: &[u8], start: usize) -> Result<(), ProxyHeaderError> {
    let mut at = start;
    while at < header.len() {
        let [kind, high, low] = *header[at..].first_chunk::<TLV_FIXED>().ok_or(E::Tlv)?;
        let value = at + TLV_FIXED;
        at = value + usize::from(u16::from_be_bytes([high, low]));
        let bytes = header.get(value..at).ok_or(E::Tlv)?;
        if kind == TLV_CRC32C {
            let told = u32::from_be_bytes(bytes.try_into().map_err(|_| E::Tlv)?);
            // It is made with zeros in its own place.
            let blank = [&header[..value], &[0; 4], &header[at..]];
            if crc32c(blank.into_iter().flatten().copied()) != told {
                return Err(E::Checksum);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
