//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), one text for each sequence of bytes.
//!
//! Decoding refuses whatever encoding would not have written: padding, white space, the other alphabet, a lone last
//! character, and bits that are thrown away. Otherwise one token would have several spellings.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Marks a byte that is not in the alphabet. Any other table value is below 64, so one bit shows a mistake in a group.
const INVALID: u8 = 0x80;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// The text of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0u32, |group, i| group << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

/// The bytes of `text`, or `None` if [`encode`] could not have written it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, tail) = text.as_bytes().as_chunks::<4>();
    let mut bytes = vec![0; groups.len() * 3];
    let mut seen = 0;
    for (&group, out) in groups.iter().zip(bytes.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = group.map(|byte| VALUES[usize::from(byte)]);
        seen |= a | b | c | d;
        *out = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    let value = |i: usize| VALUES[usize::from(tail[i])];
    let dropped_bits = match tail.len() {
        0 => 0,
        2 => {
            let [a, b] = [value(0), value(1)];
            seen |= a | b;
            bytes.push(a << 2 | b >> 4);
            b & 0x0f
        }
        3 => {
            let [a, b, c] = [value(0), value(1), value(2)];
            seen |= a | b | c;
            bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
            c & 0x03
        }
        _ => return None,
    };
    (seen & INVALID == 0 && dropped_bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_without_their_padding() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("-_8").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "Zg==", "Zm8=", "Zh", "Zm9", "Z", "Zm9vZ", "Zm 9v", "Zm9v\n", " Zm9v", "+/8", "Zm9é", "Zm.v",
            "Zm9v=",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn what_is_decoded_was_written_canonically(text in "[A-Za-z0-9_=+/ -]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
