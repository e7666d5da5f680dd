use proptest::prelude::*;

use super::*;

const INET: u8 = 0x11;
const INET6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// A header of version 2: command with version, family with transport, what follows.
fn binary(version_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[version_command, family], &length, payload].concat()
}

fn v4_addresses() -> Vec<u8> {
    vec![203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn source(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

fn refused(bytes: &[u8]) -> ProxyHeaderError {
    match ProxyHeader::parse(bytes) {
        ProxyHeader::Refused(error) => error,
        other => panic!("{other:?} of {:?}", bytes.escape_ascii().to_string()),
    }
}

/// Reads a header alone, with a request behind it, and every beginning of it.
fn whole(header: &[u8]) -> Source {
    let ProxyHeader::Whole(source, end) = ProxyHeader::parse(header) else {
        panic!("{:?} of {:?}", ProxyHeader::parse(header), header.escape_ascii().to_string())
    };
    assert_eq!(end, header.len());
    let with_request = [header, b"GET /wse HTTP/1.1\r\n"].concat();
    assert_eq!(ProxyHeader::parse(&with_request), ProxyHeader::Whole(source, end));
    for cut in 0..header.len() {
        assert_eq!(ProxyHeader::parse(&header[..cut]), ProxyHeader::Partial, "{cut} bytes");
    }
    source
}

#[test]
fn version_1_names_the_source() {
    assert_eq!(whole(b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n"), source("203.0.113.9:56324"));
    assert_eq!(whole(b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n"), source("[2001:db8::7]:1"));
    assert_eq!(whole(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n"), source("203.0.113.9:1"));
    let long = ["ffff"; 8].join(":");
    let longest = format!("PROXY TCP6 {long} {long} 65535 65535\r\n");
    assert_eq!(longest.len(), 104);
    assert_eq!(whole(longest.as_bytes()), source(&format!("[{long}]:65535")));
}

#[test]
fn version_1_may_not_know() {
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Source::Unknown);
    assert_eq!(whole(b"PROXY UNKNOWN 203.0.113.9 whatever  \r\n"), Source::Unknown);
    let mut longest = b"PROXY UNKNOWN ".to_vec();
    longest.resize(MAX_V1_BYTES - 2, b'f');
    longest.extend(b"\r\n");
    assert_eq!(whole(&longest), Source::Unknown);
    longest.insert(20, b'f');
    assert_eq!(refused(&longest), E::TooLong);
}

#[test]
fn a_line_that_is_not_exactly_that_is_refused() {
    for bad in [
        "",
        " ",
        "TCP4",
        "UNKNOWNS",
        "unknown",
        "TCP4 203.0.113.9 10.0.0.1 56324",
        "TCP4 203.0.113.9 10.0.0.1 56324 443 1",
        "TCP4  203.0.113.9 10.0.0.1 56324 443",
        "TCP4 203.0.113.9 10.0.0.1 56324 443 ",
        "TCP4 203.0.113.9\t10.0.0.1 56324 443",
        "TCP4 203.0.113.009 10.0.0.1 56324 443",
        "TCP4 203.0.113 10.0.0.1 56324 443",
        "TCP4 203.0.113.9 10.0.0.1 65536 443",
        "TCP4 203.0.113.9 10.0.0.1 +5632 443",
        "TCP4 203.0.113.9 10.0.0.1 -1 443",
        "TCP4 203.0.113.9 10.0.0.1 000001 443",
        "TCP4 203.0.113.9 10.0.0.1  443",
        "TCP4 203.0.113.9 10.0.0.1 56324 x",
        "TCP4 203.0.113.9 x 56324 443",
        "TCP4 2001:db8::7 ::1 56324 443",
        "TCP6 203.0.113.9 10.0.0.1 56324 443",
        "TCP6 [2001:db8::7] ::1 56324 443",
        "TCP6 fe80::1%1 ::1 56324 443",
        "UDP4 203.0.113.9 10.0.0.1 56324 443",
        "TCP4 203.0.113.9 10.0.0.1 56324 443\r",
    ] {
        assert_eq!(refused(format!("PROXY {bad}\r\n").as_bytes()), E::Line, "{bad:?}");
    }
    assert_eq!(refused(b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n"), E::Line, "the line ends with CRLF");
    assert_eq!(refused(b"PROXY TCP4 \xff.0.113.9 10.0.0.1 1 2\r\n"), E::Line);
    assert_eq!(refused(&[b"PROXY ", &[b'x'; 101][..]].concat()), E::TooLong);
    assert_eq!(ProxyHeader::parse(&[b"PROXY ", &[b'x'; 100][..]].concat()), ProxyHeader::Partial);
}

#[test]
fn what_is_no_header_is_seen_at_the_first_wrong_byte() {
    for bytes in [
        &b"GET /wse HTTP/1.1\r\n"[..],
        b"P\0",
        b"POST / HTTP/1.1",
        b"PROXY\r\n",
        b"PROXY\t",
        b"proxy TCP4",
        b"\r\n\r\nGET",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\x16\x03\x01",
    ] {
        assert_eq!(refused(bytes), E::Missing, "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn version_2_names_the_source() {
    assert_eq!(whole(&binary(0x21, INET, &v4_addresses())), source("203.0.113.9:56324"));
    let ends = ["2001:db8::7", "::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    let v6 = [&ends.concat()[..], &[0x1f, 0x90, 0, 80]].concat();
    assert_eq!(whole(&binary(0x21, INET6, &v6)), source("[2001:db8::7]:8080"));
    // However the client reached the proxy, by QUIC for instance, it is that client.
    assert_eq!(whole(&binary(0x21, 0x12, &v4_addresses())), source("203.0.113.9:56324"));
    let mapped = Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().octets();
    assert_eq!(
        whole(&binary(0x21, INET6, &[&mapped[..], &mapped, &[0, 1, 0, 2]].concat())),
        source("203.0.113.9:1")
    );
}

#[test]
fn version_2_may_have_no_address_to_name() {
    let paths = [0x2f; 216];
    assert_eq!(whole(&binary(0x21, UNIX, &paths)), Source::Unknown);
    assert_eq!(whole(&binary(0x21, 0x00, b"")), Source::Unknown);
    assert_eq!(whole(&binary(0x21, 0x00, b"whatever")), Source::Unknown);
    assert_eq!(whole(&binary(0x21, 0x10, &v4_addresses())), Source::Unknown);
    assert_eq!(whole(&binary(0x21, 0x01, b"")), Source::Unknown);
    // Of LOCAL nothing but the length counts.
    assert_eq!(whole(&binary(0x20, 0x00, b"")), Source::Local);
    assert_eq!(whole(&binary(0x20, INET, &v4_addresses())), Source::Local);
    assert_eq!(whole(&binary(0x20, INET6, b"?")), Source::Local);
}

#[test]
fn what_section_2_2_does_not_assign_is_refused() {
    let addresses = v4_addresses();
    for (version_command, family, error) in [
        (0x11, INET, E::Version),
        (0x31, INET, E::Version),
        (0x01, INET, E::Version),
        (0x22, INET, E::Command),
        (0x2f, INET, E::Command),
        (0x21, 0x41, E::Family),
        (0x21, 0x13, E::Family),
        (0x21, 0xff, E::Family),
    ] {
        assert_eq!(refused(&binary(version_command, family, &addresses)), error);
        assert_eq!(
            refused(&binary(version_command, family, &addresses)[..V2_FIXED]),
            error,
            "before the rest"
        );
    }
    assert_eq!(refused(&binary(0x21, INET, &addresses[..11])), E::Addresses);
    assert_eq!(refused(&binary(0x21, INET6, &[0; 35])), E::Addresses);
    assert_eq!(refused(&binary(0x21, UNIX, &[0; 215])), E::Addresses);
    assert_eq!(refused(&binary(0x21, INET, b"")), E::Addresses);
}

#[test]
fn tlvs_are_passed_over_up_to_a_limit() {
    let many = [tlv(0x02, b"chat.example"), tlv(0x04, b""), tlv(0xea, &[1; 300])].concat();
    let header = binary(0x21, INET, &[v4_addresses(), many].concat());
    assert_eq!(whole(&header), source("203.0.113.9:56324"));

    let filled = |length: usize| [v4_addresses(), tlv(0x04, &vec![0; length - 12 - TLV_FIXED])].concat();
    assert_eq!(whole(&binary(0x21, INET, &filled(MAX_V2_PAYLOAD))), source("203.0.113.9:56324"));
    let too_long = binary(0x21, INET, &filled(MAX_V2_PAYLOAD + 1));
    assert_eq!(refused(&too_long), E::TooLong);
    assert_eq!(refused(&too_long[..V2_FIXED]), E::TooLong, "nothing of it is waited for");
    assert_eq!(refused(&binary(0x20, 0, &[0; MAX_V2_PAYLOAD + 1])), E::TooLong);

    for torn in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0, 0, 0x04, 0xff, 0xff, 0]] {
        assert_eq!(refused(&binary(0x21, INET, &[&v4_addresses(), torn].concat())), E::Tlv);
    }
}

#[test]
fn a_checksum_is_checked_where_there_is_one() {
    let unsigned = |sum: &[u8]| {
        binary(0x21, INET, &[v4_addresses(), tlv(TLV_CRC32C, sum), tlv(0x02, b"chat.example")].concat())
    };
    let sum = crc32c(unsigned(&[0; 4])).to_be_bytes();
    let header = unsigned(&sum);
    assert_eq!(whole(&header), source("203.0.113.9:56324"));
    // Any bit of source, destination, checksum or another TLV; family and lengths lead to other errors.
    for at in (16..28).chain(31..35).chain(38..header.len()) {
        let mut wrong = header.clone();
        wrong[at] ^= 0x10;
        assert_eq!(refused(&wrong), E::Checksum, "byte {at}");
    }
    assert_eq!(refused(&unsigned(&sum[..3])), E::Tlv);
}

proptest! {
    #[test]
    fn garbage_never_panics_and_a_verdict_is_final(
        start in 0_usize..4,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in 0_usize..300,
    ) {
        let start = [&b""[..], b"PROXY TCP4 ", V2_SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"][start];
        let bytes = [start, &bytes].concat();
        match (ProxyHeader::parse(&bytes[..cut.min(bytes.len())]), ProxyHeader::parse(&bytes)) {
            (ProxyHeader::Partial, _) => {}
            (early, late) => prop_assert_eq!(early, late),
        }
    }

    #[test]
    fn every_source_is_read_from_both_versions(bits: u128, v4: bool, port: u16, extra in prop::collection::vec(any::<u8>(), 0..50)) {
        let address: IpAddr =
            if v4 { Ipv4Addr::from(bits as u32).into() } else { Ipv6Addr::from(bits).into() };
        let expected = client(address, port);
        let family = if v4 { "TCP4" } else { "TCP6" };
        prop_assert_eq!(whole(format!("PROXY {family} {address} {address} {port} 0\r\n").as_bytes()), expected);
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let payload = [&octets[..], &octets, &port.to_be_bytes(), &[0, 0], &tlv(0xe0, &extra)].concat();
        prop_assert_eq!(whole(&binary(0x21, if v4 { INET } else { INET6 }, &payload)), expected);
    }
}
