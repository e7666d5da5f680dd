//! An id that is read is the id that was written, letter for letter, and nothing else is read as one.
//!
//! Input: the number of the run, then a text that may be an id, and as numbers is made one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wse_core::conn_id::{ConnId, MAX_SLOTS, TEXT_LEN};

/// The run is told by 12 hexadecimal digits.
const RUN_BITS: u64 = (1 << 48) - 1;

fuzz_target!(|input: &[u8]| {
    let Some((run, rest)) = input.split_first_chunk() else { return };
    let run = u64::from_be_bytes(*run);
    if let Ok(text) = std::str::from_utf8(rest) {
        read_and_write(text, run);
        // The same behind the right run, so that the fuzzer need not guess it.
        read_and_write(&format!("{:012x}{text}", run & RUN_BITS), run);
    }
    if let Some((place, _)) = rest.split_first_chunk() {
        write_and_read(u64::from_be_bytes(*place), run);
    }
});

fn read_and_write(text: &str, run: u64) {
    let is_id = text.len() == TEXT_LEN
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && u64::from_str_radix(&text[..12], 16) == Ok(run & RUN_BITS);
    let id = ConnId::parse(text, run);
    assert_eq!(id.is_some(), is_id);
    if let Some(id) = id {
        assert!(id.slot < MAX_SLOTS);
        assert_eq!(id.to_text(run), text.as_bytes());
    }
}

fn write_and_read(place: u64, run: u64) {
    let id = ConnId {
        shard: (place >> 56) as u8,
        slot: (place >> 32) as u32 % MAX_SLOTS,
        generation: place as u32,
    };
    let text = id.to_text(run);
    let text = std::str::from_utf8(&text).expect("hexadecimal digits");
    assert_eq!(ConnId::parse(text, run), Some(id));
    assert_eq!(ConnId::parse(text, run ^ 1), None, "an id of another run is nobody's");
    assert_eq!(ConnId::parse(&text[1..], run), None);
    assert_eq!(ConnId::parse(&text.to_uppercase(), run).is_some(), text == text.to_uppercase());
}
