//! Text as a JSON string.

use std::fmt::Write as _;

/// Appends a text in quotes, with escapes where they must be; false, and no more is written, as soon as `out` is longer than `max`.
#[inline]
pub fn quote(text: &str, out: &mut String, max: usize) -> bool {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            continue;
        }
        out.push_str(&text[from..at]);
        push_escaped(byte, out);
        from = at + 1;
        if out.len() > max {
            return false;
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
    out.len() <= max
}

fn push_escaped(byte: u8, out: &mut String) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        control => {
            // A `String` takes whatever is written.
            let _ = write!(out, "\\u{control:04x}");
        }
    }
}

/// Appends bytes as hexadecimal digits in quotes: how binary data goes into JSON.
pub fn quote_hex(bytes: &[u8], out: &mut String) {
    out.reserve(2 * bytes.len() + 2);
    out.push('"');
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).expect("four bits are a digit"));
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_parser_reads_what_was_quoted(text in "\\PC{0,40}|[\\x00-\\x1f\"\\\\/a]{0,40}", max in 0_usize..100) {
            let mut out = String::from("before");
            prop_assert!(quote(&text, &mut out, usize::MAX));
            prop_assert_eq!(&serde_json::from_str::<String>(&out[6..]).unwrap(), &text);
            let mut bounded = String::new();
            prop_assert_eq!(quote(&text, &mut bounded, max), out.len() - 6 <= max);
        }
    }

    #[test]
    fn bytes_are_digits() {
        let mut out = String::new();
        quote_hex(&[0, 0xab, 0xff], &mut out);
        assert_eq!(out, "\"00abff\"");
    }
}
