//! What proxies that speak HTTP say of the client: `X-Forwarded-For`, or `X-Real-IP`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Networks;
use crate::http::{Request, SingleHeader};

/// The client whose request this is; the port is 0 where nobody has told it.
///
/// Each proxy appends the hop that it heard the request from, so the list is true from the right for as long as those who wrote it are
/// trusted. The first hop that is not trusted is the client: what stands to its left is its own word, or the word of others that
/// nobody answers for. A hop that can't be read ends the walk too, since whoever it is, nothing says that it is trusted.
#[must_use]
pub fn client(peer: SocketAddr, request: &Request<'_>, trusted: &Networks) -> SocketAddr {
    if !trusted.contains(peer.ip()) {
        return peer;
    }
    // All lines of a name are one list (RFC 9110, section 5.3).
    let mut lines = request.header_values("x-forwarded-for").rev().peekable();
    if lines.peek().is_none() {
        return match request.single_header("x-real-ip") {
            SingleHeader::One(value) => read_hop(value).unwrap_or(peer),
            SingleHeader::Absent | SingleHeader::Several => peer,
        };
    }
    let mut client = peer;
    for element in lines.flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let Some(hop) = read_hop(element) else { break };
        client = hop;
        if !trusted.contains(hop.ip()) {
            break;
        }
    }
    client
}

/// An address, with or without a port; those of IPv6 may, and before a port must, stand in brackets. None has a zone (`%eth0`), which
/// would mean an interface of the proxy's.
fn read_hop(element: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(element.trim_ascii()).ok().filter(|text| !text.contains('%'))?;
    let bare = || match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<IpAddr>().ok(),
    };
    let hop = bare().map(|address| SocketAddr::new(address, 0)).or_else(|| text.parse().ok())?;
    Some(SocketAddr::new(hop.ip().to_canonical(), hop.port()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::Head;

    const PEER: &str = "10.0.0.1:4000";

    fn client_of(peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| crate::options::network(text).unwrap());
        let head = format!("GET /wse HTTP/1.1\r\nHost: x\r\n{}\r\n", lines.concat());
        let Head::Whole(request, _) = Head::parse(head.as_bytes()) else { panic!("{head:?}") };
        client(peer.parse().unwrap(), &request, &Networks::new(&networks)).to_string()
    }

    fn forwarded(list: &str) -> String {
        client_of(PEER, &[&format!("X-Forwarded-For: {list}\r\n")])
    }

    #[test]
    fn the_first_hop_from_the_right_that_is_not_trusted_wins() {
        for (list, expected) in [
            ("203.0.113.9", "203.0.113.9:0"),
            ("203.0.113.9, 10.0.0.2", "203.0.113.9:0"),
            ("203.0.113.9,10.0.0.2 ,\t10.9.9.9", "203.0.113.9:0"),
            // What the client itself sent stands to the left of its address.
            ("198.51.100.1, 203.0.113.9", "203.0.113.9:0"),
            ("10.0.0.3, 203.0.113.9, 10.0.0.2", "203.0.113.9:0"),
            ("127.0.0.1, 203.0.113.9", "203.0.113.9:0"),
            ("2001:db8::7, 2001:db8:1::2", "[2001:db8::7]:0"),
            // Where all are trusted the first of them is the client.
            ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
        ] {
            assert_eq!(forwarded(list), expected, "{list}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        for (list, expected) in [
            ("203.0.113.9:5555", "203.0.113.9:5555"),
            ("[2001:db8::7]", "[2001:db8::7]:0"),
            ("[2001:db8::7]:5555", "[2001:db8::7]:5555"),
            ("203.0.113.9, [2001:db8:1::2]:80", "203.0.113.9:0"),
            ("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9:0"),
            ("::ffff:203.0.113.9", "203.0.113.9:0"),
        ] {
            assert_eq!(forwarded(list), expected, "{list}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_last_good_hop() {
        for bad in [
            "unknown",
            "_hidden",
            "",
            " ",
            "unix:",
            "203.0.113.9:",
            "203.0.113.9:70000",
            "203.0.113",
            "[203.0.113.9]",
            "[::1",
            "::1]",
            "[fe80::1%1]:80",
            "fe80::1%1",
            "\"203.0.113.9\"",
            "010.0.0.1",
            "for=203.0.113.9",
            "203.0.113.9;",
            "a.example",
            "\u{660}.1.1.1",
        ] {
            assert_eq!(forwarded(bad), PEER, "{bad:?}");
            assert_eq!(forwarded(&format!("198.51.100.1, {bad}")), PEER, "{bad:?}");
            assert_eq!(forwarded(&format!("198.51.100.1, {bad}, 10.0.0.2:7")), "10.0.0.2:7", "{bad:?}");
            assert_eq!(forwarded(&format!("{bad}, 203.0.113.9")), "203.0.113.9:0", "{bad:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let spoofed = "X-Forwarded-For: 198.51.100.1\r\n";
        assert_eq!(
            client_of(
                PEER,
                &[spoofed, "x-forwarded-for: 203.0.113.9, 10.0.0.3\r\n", "X-FORWARDED-FOR: 10.0.0.2\r\n"]
            ),
            "203.0.113.9:0"
        );
        assert_eq!(client_of(PEER, &[spoofed, "X-Forwarded-For:\r\n"]), PEER);
    }

    #[test]
    fn the_real_ip_counts_where_nothing_was_forwarded() {
        let real = "X-Real-IP: 203.0.113.9\r\n";
        assert_eq!(client_of(PEER, &[real]), "203.0.113.9:0");
        assert_eq!(client_of(PEER, &["X-Real-IP: [2001:db8::7]:1\r\n"]), "[2001:db8::7]:1");
        assert_eq!(client_of(PEER, &[real, "X-Forwarded-For: 198.51.100.1\r\n"]), "198.51.100.1:0");
        assert_eq!(client_of(PEER, &[real, "X-Forwarded-For: unknown\r\n"]), PEER);
        assert_eq!(client_of(PEER, &[real, real]), PEER, "of two nobody knows which is true");
        assert_eq!(client_of(PEER, &["X-Real-IP: 203.0.113.9, 10.0.0.2\r\n"]), PEER, "it is no list");
        assert_eq!(client_of(PEER, &[]), PEER);
    }

    #[test]
    fn from_a_stranger_nothing_is_believed() {
        let lines = ["X-Forwarded-For: 198.51.100.1\r\n", "X-Real-IP: 198.51.100.1\r\n"];
        for stranger in ["203.0.113.9:4000", "[2001:db8:2::1]:4000", "127.0.0.1:4000"] {
            assert_eq!(client_of(stranger, &lines), stranger);
        }
        assert_eq!(client_of("[::ffff:10.0.0.1]:4000", &lines), "198.51.100.1:0", "a mapped address is IPv4");
    }

    proptest! {
        /// Whatever a client sends, behind a proxy that appends its address it is known by that address.
        #[test]
        fn no_list_of_its_own_hides_a_client(
            lines in prop::collection::vec("[ -~\t]{0,40}", 0..4),
            appended_to_the_last: bool,
        ) {
            let separator = if appended_to_the_last && !lines.is_empty() { ", " } else { "\r\nX-Forwarded-For: " };
            let own = lines.join("\r\nX-Forwarded-For: ");
            let head = format!("X-Forwarded-For: {own}{separator}203.0.113.9, 10.0.0.2\r\n");
            prop_assert_eq!(client_of(PEER, &[&head]), "203.0.113.9:0");
        }

        #[test]
        fn every_address_is_read_in_all_its_forms(bits: u128, v4: bool, port: u16) {
            let address: IpAddr = if v4 { std::net::Ipv4Addr::from(bits as u32).into() } else { Ipv6Addr::from(bits).into() };
            let canonical = address.to_canonical();
            let with_port = SocketAddr::new(address, port).to_string();
            prop_assert_eq!(read_hop(address.to_string().as_bytes()), Some(SocketAddr::new(canonical, 0)));
            prop_assert_eq!(read_hop(with_port.as_bytes()), Some(SocketAddr::new(canonical, port)));
        }
    }
}
