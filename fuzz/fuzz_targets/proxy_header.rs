//! A PROXY header is read as what it was made of, and whatever comes in, a verdict is final: more bytes never change it.
//!
//! An even first byte takes the rest as bytes from the network, an odd one as the description of a header: its version and
//! command, two addresses and ports, TLVs, a place to cut it and a byte to spoil.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::proxy::header::{MAX_V1_BYTES, MAX_V2_PAYLOAD};
use wse_core::proxy::{ProxyHeader, Source};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    if choice & 1 == 0 {
        any_bytes(rest);
    } else {
        let _ = described(&mut Unstructured::new(rest));
    }
});

fn any_bytes(bytes: &[u8]) {
    let verdict = ProxyHeader::parse(bytes);
    let mut cuts =
        (0..bytes.len().min(40)).chain([bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)]);
    match verdict {
        ProxyHeader::Partial => {
            assert!(cuts.all(|cut| ProxyHeader::parse(&bytes[..cut]) == ProxyHeader::Partial));
            assert!(bytes.len() < 16 + MAX_V2_PAYLOAD);
            assert!(bytes.starts_with(SIGNATURE) || bytes.len() < MAX_V1_BYTES);
        }
        ProxyHeader::Whole(source, end) => {
            for cut in cuts {
                let expected = if cut < end { ProxyHeader::Partial } else { verdict };
                assert_eq!(ProxyHeader::parse(&bytes[..cut]), expected);
            }
            assert_eq!(ProxyHeader::parse(&bytes[..end - 1]), ProxyHeader::Partial);
            assert_eq!(ProxyHeader::parse(&bytes[..end]), verdict);
            check_whole(&bytes[..end], source);
        }
        ProxyHeader::Refused(_) => {
            let mut refused = false;
            for cut in 0..bytes.len().min(150) {
                match ProxyHeader::parse(&bytes[..cut]) {
                    ProxyHeader::Partial => assert!(!refused),
                    ProxyHeader::Refused(_) => refused = true,
                    ProxyHeader::Whole(..) => panic!("refused, though its beginning was a header"),
                }
            }
        }
    }
}

/// What was read stands in the bytes.
fn check_whole(header: &[u8], source: Source) {
    if let Some(rest) = header.strip_prefix(SIGNATURE) {
        assert_eq!(header.len(), 16 + usize::from(rest[2]) * 256 + usize::from(rest[3]));
        match (rest[0], rest[1], source) {
            (0x20, _, Source::Local) => {}
            (0x21, _, Source::Unknown) => {
                assert!(rest[1] & 0x0f == 0 || rest[1] >> 4 == 0 || rest[1] >> 4 == 3)
            }
            (0x21, 0x11 | 0x12, Source::Client(client)) => {
                let address: [u8; 4] = rest[4..8].try_into().expect("four bytes");
                assert_eq!(client, SocketAddr::from((address, u16::from_be_bytes([rest[12], rest[13]]))));
            }
            (0x21, 0x21 | 0x22, Source::Client(client)) => {
                let address: [u8; 16] = rest[4..20].try_into().expect("sixteen bytes");
                assert_eq!(client.ip(), IpAddr::from(address).to_canonical());
                assert_eq!(client.port(), u16::from_be_bytes([rest[36], rest[37]]));
            }
            other => panic!("{other:?}"),
        }
        return;
    }
    assert!(header.len() <= MAX_V1_BYTES && header.ends_with(b"\r\n") && header.starts_with(b"PROXY "));
    if header.starts_with(b"PROXY UNKNOWN") {
        return assert_eq!(source, Source::Unknown);
    }
    let line = std::str::from_utf8(header).expect("a line in ASCII");
    let words: Vec<&str> = line.trim_end().split_whitespace().collect();
    let address: IpAddr = words[2].parse().expect("an address");
    assert_eq!(words.len(), 6);
    assert_eq!(words[1], if address.is_ipv4() { "TCP4" } else { "TCP6" });
    let client = SocketAddr::new(address.to_canonical(), words[4].parse().expect("a port"));
    assert_eq!(source, Source::Client(client));
}

fn described(u: &mut Unstructured<'_>) -> Result<()> {
    let kind: u8 = u.int_in_range(0..=4)?;
    let address: IpAddr = if u.arbitrary()? {
        Ipv4Addr::from(u.arbitrary::<u32>()?).into()
    } else {
        Ipv6Addr::from(u.arbitrary::<u128>()?).into()
    };
    let port = u.arbitrary()?;
    let client = Source::Client(SocketAddr::new(address.to_canonical(), port));
    let (header, expected) = match kind {
        0 => (line(address, port), client),
        1 => (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unknown),
        2 => (binary(0x21, address, port, &tlvs(u)?), client),
        3 => (binary(0x20, address, port, &[]), Source::Local),
        _ => {
            let mut header = binary(0x21, address, port, &tlvs(u)?);
            header[13] = 0;
            (header, Source::Unknown)
        }
    };
    any_bytes(&header);
    assert_eq!(ProxyHeader::parse(&header), ProxyHeader::Whole(expected, header.len()));
    spoil(u, header)
}

/// One wrong byte may make it another header or none; what is true of any bytes stays true.
fn spoil(u: &mut Unstructured<'_>, mut header: Vec<u8>) -> Result<()> {
    let at = u.choose_index(header.len())?;
    header[at] = u.arbitrary()?;
    header.extend_from_slice(b"GET / HTTP/1.1\r\n");
    any_bytes(&header);
    Ok(())
}

fn line(address: IpAddr, port: u16) -> Vec<u8> {
    let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {address} {address} {port} 443\r\n").into_bytes()
}

/// A few TLVs, none of which is a checksum: a random one would be wrong.
fn tlvs(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let kind: u8 = u.arbitrary()?;
        let len = u.arbitrary::<u8>()?;
        let value = u.bytes(u.len().min(len.into()))?;
        out.push(if kind == 0x03 { 0x04 } else { kind });
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
    }
    Ok(out)
}

fn binary(version_command: u8, address: IpAddr, port: u16, tlvs: &[u8]) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    let payload = [&octets[..], &octets, &port.to_be_bytes(), &443_u16.to_be_bytes(), tlvs].concat();
    let length = (payload.len() as u16).to_be_bytes();
    [SIGNATURE, &[version_command, family], &length, &payload].concat()
}
