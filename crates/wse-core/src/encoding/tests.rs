//! JSON to msgpack and back, held against a parser's tree; and every way in which bytes can be wrong.

use super::msgpack::{PackError, UnpackError, pack, pack_head, pack_rest, unpack};
use super::{Binary, Format, MAX_DEPTH};
use proptest::prelude::*;
use serde_json::{Value, json};

fn packed(json: &str) -> Result<Vec<u8>, PackError> {
    let mut out = b"before".to_vec();
    let result = pack(json, &mut out);
    assert_eq!(&out[..6], b"before");
    match result {
        Ok(()) => Ok(out.split_off(6)),
        Err(error) => {
            assert_eq!(out.len(), 6, "nothing is left of what failed");
            Err(error)
        }
    }
}

fn unpacked(bytes: &[u8]) -> Result<Value, UnpackError> {
    unpack(bytes, 1 << 20).map(|text| serde_json::from_str(&text).expect("what is unpacked is JSON"))
}

fn json_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-70_000_i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        "\\PC{0,40}|[\\x00-\\x1f\"\\\\/a]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_packed_comes_back(p in json_value(), pretty: bool) {
        let value = json!({"t": "x", "p": p});
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(unpacked(&packed(&text).unwrap()).unwrap(), value);
    }

    #[test]
    fn a_message_in_two_parts_is_the_same_as_in_one(map in prop::collection::vec(("\\PC{0,6}", json_value()), 0..20), cut in 0_usize..21) {
        let members: Vec<String> = map.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
        let cut = cut.min(members.len());
        let (head, rest) = (members[..cut].join(","), members[cut..].join(","));
        let comma = if cut > 0 && cut < members.len() { "," } else { "" };
        let (head, rest) = (format!("{{{head}{comma}"), format!("{rest}}}"));
        let (mut tail, mut whole) = (Vec::new(), Vec::new());
        let count = pack_rest(&rest, &mut tail).unwrap();
        pack_head(&head, count, &mut whole).unwrap();
        whole.extend(tail);
        prop_assert_eq!(packed(&format!("{head}{rest}")).unwrap(), whole);
    }

    #[test]
    fn texts_that_are_no_json_are_refused_as_a_parser_refuses_them(text in "[{}\\[\\]\",:\\\\/u0-9a-fE+.trnl -]{0,30}") {
        let text = format!("{{\"a\":{text}}}");
        // A parser takes what msgpack can't say, and a number may end up larger than any.
        match (packed(&text), serde_json::from_str::<Value>(&text)) {
            (Ok(bytes), Ok(value)) => prop_assert_eq!(unpacked(&bytes).unwrap(), value),
            (Err(PackError::NotJson | PackError::LoneSurrogate), parsed) => prop_assert!(parsed.is_err()),
            (Err(PackError::NumberTooLarge), _) => {}
            (packed, parsed) => prop_assert!(false, "{text}: {packed:?} {parsed:?}"),
        }
    }

    #[test]
    fn no_bytes_panic_and_none_become_more_than_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0_usize..600) {
        let map = [&[0x8f][..], &bytes].concat();
        for bytes in [&bytes, &map] {
            if let Ok(text) = unpack(bytes, max) {
                prop_assert!(text.len() <= max);
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn a_map_that_is_cut_is_truncated(p in json_value(), cut: prop::sample::Index) {
        let bytes = packed(&json!({"p": p}).to_string()).unwrap();
        prop_assert_eq!(unpack(&bytes[..cut.index(bytes.len())], 1 << 20), Err(UnpackError::Truncated));
        prop_assert_eq!(unpack(&[&bytes[..], b"\xc0"].concat(), 1 << 20), Err(UnpackError::Trailing));
    }
}

#[test]
fn the_shortest_form_of_each_length_is_taken() {
    let head = |json: &str| packed(&format!("{{\"a\":{json}}}")).unwrap()[3..].to_vec();
    for (number, bytes) in [
        ("127", &[127][..]),
        ("128", &[0xcc, 128]),
        ("256", &[0xcd, 1, 0]),
        ("65536", &[0xce, 0, 1, 0, 0]),
        ("4294967296", &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("18446744073709551615", &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]),
        ("-32", &[0xe0]),
        ("-33", &[0xd0, 0xdf]),
        ("-129", &[0xd1, 0xff, 0x7f]),
        ("-32769", &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        ("-9223372036854775808", &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("-0", &[0]),
        ("1.0", &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("true", &[0xc3]),
        ("null", &[0xc0]),
    ] {
        assert_eq!(head(number), bytes, "{number}");
    }
    for (len, first) in
        [(31, vec![0xbf]), (32, vec![0xd9, 32]), (256, vec![0xda, 1, 0]), (65_536, vec![0xdb, 0, 1, 0, 0])]
    {
        assert_eq!(head(&format!("\"{}\"", "x".repeat(len)))[..first.len()], first);
    }
    for (count, first) in [(15, vec![0x9f]), (16, vec![0xdc, 0, 16]), (65_536, vec![0xdd, 0, 1, 0, 0])] {
        let list = head(&format!("[{}]", vec!["1"; count].join(",")));
        assert_eq!(list[..first.len()], first);
        assert_eq!(list.len(), first.len() + count);
    }
    let members = (0..16).map(|at| format!("\"{at}\":0")).collect::<Vec<_>>().join(",");
    assert_eq!(head(&format!("{{{members}}}"))[..3], [0xde, 0, 16]);
}

#[test]
fn what_msgpack_can_not_say_is_refused() {
    let deep = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels - 1) + "{}", "}".repeat(levels - 1));
    assert!(packed(&deep(MAX_DEPTH)).is_ok());
    for (text, error) in [
        (deep(MAX_DEPTH + 1).as_str(), PackError::TooDeep),
        ("[1]", PackError::NotAnObject),
        ("hello", PackError::NotAnObject),
        ("", PackError::NotAnObject),
        ("{\"a\":18446744073709551616}", PackError::NumberTooLarge),
        ("{\"a\":-9223372036854775809}", PackError::NumberTooLarge),
        ("{\"a\":1e999}", PackError::NumberTooLarge),
        ("{\"a\":\"\\ud800\"}", PackError::LoneSurrogate),
        ("{\"a\":\"\\ud800\\u0041\"}", PackError::LoneSurrogate),
        ("{\"a\":\"\\udc00\"}", PackError::LoneSurrogate),
        ("{\"a\":NaN}", PackError::NotJson),
        ("{\"a\":01}", PackError::NotJson),
        ("{\"a\":\"\n\"}", PackError::NotJson),
        ("{\"a\":1,}", PackError::NotJson),
        ("{\"a\":1} x", PackError::NotJson),
        ("{'a':1}", PackError::NotJson),
        ("{\"a\":[1 2]}", PackError::NotJson),
    ] {
        assert_eq!(packed(text), Err(error), "{text}");
    }
    assert_eq!(unpacked(&packed("{\"a\":\"\\ud83d\\ude00\\u00e9\"}").unwrap()), Ok(json!({"a": "😀é"})));
}

#[test]
fn bytes_that_are_no_message_say_why() {
    let map = |value: &[u8]| [&[0x81, 0xa1, b'a'][..], value].concat();
    let deep = |levels: usize| [[0x81, 0xa1, b'a'].repeat(levels - 1), vec![0x80]].concat();
    assert!(unpack(&deep(MAX_DEPTH), 1000).is_ok());
    for (bytes, error) in [
        (vec![], UnpackError::Truncated),
        (vec![0x90], UnpackError::NotAMap),
        (vec![0xa1, b'x'], UnpackError::NotAMap),
        (deep(MAX_DEPTH + 1), UnpackError::TooDeep),
        (map(&[0x91].repeat(MAX_DEPTH)), UnpackError::TooDeep),
        (vec![0x81, 1, 2], UnpackError::KeyIsNoText),
        (map(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]), UnpackError::NotFinite),
        (map(&[0xca, 0xff, 0x80, 0, 0]), UnpackError::NotFinite),
        (map(&[0xa2, 0xff, 0xfe]), UnpackError::BadUtf8),
        (map(&[0xc1]), UnpackError::NoValue),
        (map(&[0xd4, 5, 0]), UnpackError::UnknownExtension),
        (map(&[0xd4, 0xff, 0]), UnpackError::BadTimestamp),
        (map(&[0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]), UnpackError::BadTimestamp),
        (vec![0xdf, 0xff, 0xff, 0xff, 0xff], UnpackError::Truncated),
        (map(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]), UnpackError::Truncated),
        (map(&[0xdb, 0xff, 0xff, 0xff, 0xff, 1]), UnpackError::Truncated),
    ] {
        assert_eq!(unpack(&bytes, 1000), Err(error), "{bytes:02x?}");
    }
    // What grows as JSON is noticed on the way: escapes, digits, words.
    for grows in [
        map(&[&[0xd9, 200][..], &[1; 200]].concat()),
        map(&[&[0xc4, 200][..], &[1; 200]].concat()),
        map(&[&[0xdc, 0, 200][..], &[0xc2; 200]].concat()),
    ] {
        assert_eq!(unpack(&grows, 400), Err(UnpackError::TooLarge));
    }
}

#[test]
fn bytes_become_digits_and_timestamps_become_iso_8601() {
    let value = |bytes: &[u8]| unpacked(&[&[0x81, 0xa1, b'a'][..], bytes].concat()).unwrap()["a"].clone();
    assert_eq!(value(&[0xc4, 3, 0, 0xab, 0xff]), "00abff");
    assert_eq!(value(&[0xd6, 0xff, 0, 0, 0, 1]), "1970-01-01T00:00:01.000Z");
    let both = ((500_000_000_u64 << 34) | 1).to_be_bytes();
    assert_eq!(value(&[&[0xd7, 0xff][..], &both].concat()), "1970-01-01T00:00:01.500Z");
    let before = [&[0xc7, 12, 0xff, 0, 0, 0x03, 0xe8][..], &(-1_i64).to_be_bytes()].concat();
    assert_eq!(value(&before), "1969-12-31T23:59:59.000001Z");
    assert_eq!(value(&[0xca, 0x3f, 0x80, 0, 0]), 1.0);
}

#[test]
fn the_query_names_the_format() {
    for (query, format) in [
        ("", Format::Json),
        ("format=json", Format::Json),
        ("format=msgpack", Format::Msgpack),
        ("token=x&format=msgpack&y", Format::Msgpack),
        ("format=json&format=msgpack", Format::Json),
        ("format=MSGPACK", Format::Json),
        ("xformat=msgpack", Format::Json),
    ] {
        assert_eq!(Format::of_query(query), format, "{query}");
    }
}

#[test]
fn two_bytes_say_what_a_binary_message_is() {
    assert_eq!(Binary::of(b"C:x"), Binary::Zlib(b"x"));
    assert_eq!(Binary::of(b"M:"), Binary::Msgpack(b""));
    assert_eq!(Binary::of(b"E:xy"), Binary::Sealed(b"xy"));
    for other in [&b""[..], b"C", b"c:x", b"X:", b"{\"t\":1}"] {
        assert_eq!(Binary::of(other), Binary::Other(other));
    }
}
