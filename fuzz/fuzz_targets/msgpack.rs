//! msgpack from strangers becomes the JSON that a reader of trees makes of it, or an error, within the limit; JSON that is packed
//! comes back as it was.
//!
//! The first byte chooses: even, the rest is msgpack, and the limit is its half; odd, the rest is JSON text. The second opinions are a
//! decoder that builds a tree and has all the time in the world, and serde_json.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Number, Value};
use wse_core::encoding::MAX_DEPTH;
use wse_core::encoding::msgpack::{PackError, UnpackError, pack, unpack};

/// A limit that nothing reaches.
const ROOM: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    if choice % 2 == 0 {
        check_unpacking(rest, usize::from(*choice) / 2);
    } else if let Ok(text) = std::str::from_utf8(rest) {
        check_packing(text);
    }
});

fn check_unpacking(packed: &[u8], max: usize) {
    let unpacked = unpack(packed, ROOM);
    match (&unpacked, tree(packed)) {
        (Ok(text), Some(expected)) => {
            let value: Value = serde_json::from_str(text).expect("what is unpacked is JSON");
            assert_eq!(value, expected);
            let mut again = Vec::new();
            pack(text, &mut again).expect("it fits into msgpack, where it came from");
            assert_eq!(unpack(&again, ROOM).as_ref(), Ok(text), "and is the same the second time");
        }
        (Err(_), None) => {}
        (unpacked, expected) => panic!("{unpacked:?}, but a reader of trees finds {expected:?}"),
    }
    match (unpack(packed, max), unpacked) {
        (Ok(bounded), Ok(text)) => assert!(bounded == text && text.len() <= max),
        (Err(UnpackError::TooLarge), Ok(text)) => assert!(text.len() > max),
        (Err(_), Err(_)) => {}
        (bounded, unpacked) => panic!("{bounded:?} within {max}, but {unpacked:?} without a limit"),
    }
}

fn check_packing(text: &str) {
    let mut out = b"before".to_vec();
    let packed = pack(text, &mut out);
    assert!(out.starts_with(b"before") && (packed.is_ok() || out.len() == 6));
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    match (packed, parsed) {
        (Ok(()), Some(value)) => {
            let back = unpack(&out[6..], ROOM).expect("what was packed is unpacked");
            assert_eq!(serde_json::from_str::<Value>(&back).expect("it is JSON"), value);
        }
        // Nested deeper than a parser of trees goes.
        (Err(_), None) => {}
        (Err(PackError::NumberTooLarge | PackError::TooDeep | PackError::NotAnObject), Some(_)) => {}
        (packed, parsed) => panic!("{packed:?}, but a parser finds {parsed:?}"),
    }
}

/// The message that bytes are, as JSON.
fn tree(packed: &[u8]) -> Option<Value> {
    let mut left = packed;
    let value = value(&mut left, 0)?;
    (left.is_empty() && value.is_object()).then_some(value)
}

fn take<'a>(left: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(len)?;
    *left = rest;
    Some(taken)
}

fn number(left: &mut &[u8], len: usize) -> Option<u64> {
    Some(take(left, len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn value(left: &mut &[u8], depth: usize) -> Option<Value> {
    let first = take(left, 1)?[0];
    Some(match first {
        0..=0x7f => first.into(),
        0x80..=0x8f => map(left, u64::from(first) - 0x80, depth)?,
        0x90..=0x9f => list(left, u64::from(first) - 0x90, depth)?,
        0xa0..=0xbf => text(left, u64::from(first) - 0xa0)?.into(),
        0xc0 => Value::Null,
        0xc1 => return None,
        0xc2 => false.into(),
        0xc3 => true.into(),
        0xc4 | 0xc5 | 0xc6 => {
            let len = number(left, 1 << (first - 0xc4))?;
            let digits = take(left, len as usize)?.iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>().into()
        }
        0xc7 | 0xc8 | 0xc9 => {
            let len = number(left, 1 << (first - 0xc7))?;
            timestamp(left, len as usize)?
        }
        0xca => float(f64::from(f32::from_bits(number(left, 4)? as u32)))?,
        0xcb => float(f64::from_bits(number(left, 8)?))?,
        0xcc..=0xcf => number(left, 1 << (first - 0xcc))?.into(),
        0xd0 => (number(left, 1)? as i8).into(),
        0xd1 => (number(left, 2)? as i16).into(),
        0xd2 => (number(left, 4)? as i32).into(),
        0xd3 => (number(left, 8)? as i64).into(),
        0xd4..=0xd8 => timestamp(left, 1 << (first - 0xd4))?,
        0xd9 | 0xda | 0xdb => {
            let len = number(left, 1 << (first - 0xd9))?;
            text(left, len)?.into()
        }
        0xdc | 0xdd => {
            let len = number(left, 2 << (first - 0xdc))?;
            list(left, len, depth)?
        }
        0xde | 0xdf => {
            let len = number(left, 2 << (first - 0xde))?;
            map(left, len, depth)?
        }
        0xe0.. => (first as i8).into(),
    })
}

fn text<'a>(left: &mut &'a [u8], len: u64) -> Option<&'a str> {
    std::str::from_utf8(take(left, len as usize)?).ok()
}

fn float(float: f64) -> Option<Value> {
    Number::from_f64(float).map(Value::Number)
}

fn list(left: &mut &[u8], len: u64, depth: usize) -> Option<Value> {
    if depth == MAX_DEPTH {
        return None;
    }
    (0..len).map(|_| value(left, depth + 1)).collect::<Option<Vec<_>>>().map(Value::from)
}

fn map(left: &mut &[u8], len: u64, depth: usize) -> Option<Value> {
    if depth == MAX_DEPTH {
        return None;
    }
    let mut map = Map::new();
    for _ in 0..len {
        let Value::String(key) = key(left)? else { return None };
        let value = value(left, depth + 1)?;
        map.insert(key, value);
    }
    Some(map.into())
}

fn key(left: &mut &[u8]) -> Option<Value> {
    matches!(left.first(), Some(0xa0..=0xbf | 0xd9..=0xdb)).then(|| value(left, 0))?
}

/// A timestamp is looked at by its form alone; what calendar it has is tested elsewhere.
fn timestamp(left: &mut &[u8], len: usize) -> Option<Value> {
    let kind = take(left, 1)?[0];
    let data = take(left, len)?;
    if kind != 0xff {
        return None;
    }
    let (seconds, nanoseconds) = match len {
        4 => (u32::from_be_bytes(data.try_into().ok()?).into(), 0),
        8 => {
            let both = u64::from_be_bytes(data.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanoseconds, seconds) = data.split_at(4);
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(nanoseconds.try_into().ok()?))
        }
        _ => return None,
    };
    wse_core::protocol::time::iso8601_of(seconds, nanoseconds).map(Value::from)
}
