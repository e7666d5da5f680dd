//! Who the client is behind proxies, decided a second time by somebody who writes the whole list down first; and the law that
//! makes it safe: whatever a client sends, what its proxy appended wins.
//!
//! Input: whether the peer is a proxy (1), then header lines, separated by line breaks: those that begin with `!` are X-Real-IP,
//! the others X-Forwarded-For.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use wse_core::http::Head;
use wse_core::http::request::MAX_HEADERS;
use wse_core::options::network;
use wse_core::proxy::{self, Networks};

const CLIENT: &str = "203.0.113.9";

fuzz_target!(|input: &[u8]| {
    let Some((&choice, text)) = input.split_first() else { return };
    let lines: Vec<Vec<u8>> =
        text.split(|byte| *byte == b'\n').take(MAX_HEADERS - 2).map(printable).collect();
    let (real, forwarded): (Vec<&[u8]>, Vec<&[u8]>) =
        lines.iter().map(Vec::as_slice).partition(|line| line.starts_with(b"!"));
    let real: Vec<&[u8]> = real.into_iter().map(|line| &line[1..]).collect();
    let peer: SocketAddr =
        if choice & 1 == 0 { "127.0.0.1:9" } else { "10.0.0.1:9" }.parse().expect("an address");

    assert_eq!(decide(peer, &real, &forwarded), model(peer, &real, &forwarded));

    let proxy: SocketAddr = "10.0.0.1:9".parse().expect("an address");
    let appended: Vec<&[u8]> = forwarded.iter().copied().chain([CLIENT.as_bytes()]).collect();
    assert_eq!(decide(proxy, &real, &appended), format!("{CLIENT}:0").parse().expect("an address"));
    let stranger: SocketAddr = "[2001:db8:2::1]:9".parse().expect("an address");
    assert_eq!(decide(stranger, &real, &appended), stranger);
});

/// What may stand in a header line; other bytes never reach the function.
fn printable(line: &[u8]) -> Vec<u8> {
    line.iter().map(|byte| if *byte < b' ' || *byte == 0x7f { b' ' } else { *byte }).collect()
}

fn trusted() -> Networks {
    Networks::new(&["10.0.0.0/8", "2001:db8:1::/48"].map(|text| network(text).expect("a network")))
}

fn decide(peer: SocketAddr, real: &[&[u8]], forwarded: &[&[u8]]) -> SocketAddr {
    let mut head = b"GET /wse HTTP/1.1\r\n".to_vec();
    for (name, values) in [("X-Real-IP", real), ("x-forwarded-for", forwarded)] {
        for value in values {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    let Head::Whole(request, _) = Head::parse(&head) else { panic!("{:?}", head.escape_ascii().to_string()) };
    proxy::client(peer, &request, &trusted())
}

fn is_trusted(hop: IpAddr) -> bool {
    match hop {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.segments()[..3] == [0x2001, 0xdb8, 1],
    }
}

fn model(peer: SocketAddr, real: &[&[u8]], forwarded: &[&[u8]]) -> SocketAddr {
    if !is_trusted(peer.ip()) {
        return peer;
    }
    if forwarded.is_empty() {
        let [value] = real else { return peer };
        return hop(value).unwrap_or(peer);
    }
    let list = forwarded.join(&b","[..]);
    let hops: Vec<Option<SocketAddr>> = list.split(|byte| *byte == b',').map(hop).collect();
    // From the right: trusted hops, then perhaps one that is not.
    let readable = hops.iter().rev().map_while(|hop| *hop).collect::<Vec<_>>();
    let trusted = readable.iter().take_while(|hop| is_trusted(hop.ip())).count();
    match (readable.get(trusted), trusted) {
        (Some(stranger), _) => *stranger,
        (None, 0) => peer,
        (None, _) => readable[trusted - 1],
    }
}

/// An address: `a`, `[a]`, `a:port` of IPv4, `[a]:port` of IPv6.
fn hop(element: &[u8]) -> Option<SocketAddr> {
    let text = String::from_utf8(element.to_vec()).ok()?;
    let text = text.trim_matches(|char: char| char.is_ascii_whitespace());
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, behind) = rest.split_once(']')?;
        let port = if behind.is_empty() { "0" } else { behind.strip_prefix(':')? };
        (IpAddr::V6(address.parse().ok()?), port)
    } else if text.matches(':').count() == 1 {
        let (address, port) = text.split_once(':')?;
        (IpAddr::V4(address.parse().ok()?), port)
    } else {
        (text.parse().ok()?, "0")
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { port.parse().ok()? } else { return None };
    Some(SocketAddr::new(address.to_canonical(), port))
}
