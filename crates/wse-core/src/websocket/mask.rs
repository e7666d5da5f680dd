//! Unmasking in place (RFC 6455, section 5.3).

/// Removes the mask from `payload`, whose first byte is the `offset`-th of its frame.
#[inline]
pub fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset & 3);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    // Eight bytes a step; the compiler makes vectors of it.
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_as_byte_by_byte(payload in prop::collection::vec(any::<u8>(), 0..200), mask: [u8; 4], offset in 0_usize..9) {
            let mut fast = payload.clone();
            unmask(&mut fast, mask, offset);
            let slow: Vec<u8> = payload.iter().enumerate().map(|(i, b)| b ^ mask[(i + offset) % 4]).collect();
            prop_assert_eq!(fast, slow);
        }
    }
}
