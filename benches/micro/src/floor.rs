//! The least that reading text frames can cost: the three steps that cannot be left out, and nothing that a server needs besides.
//!
//! No fragments, no control frames, no limits, no bytes that are missing at the end, no pauses: anything else ends the loop.

/// Reads frames until there is none; returns how many there were and the bytes of their text.
pub(crate) fn read_frames(mut data: &mut [u8], mut on: impl FnMut(&str)) -> usize {
    let mut frames = 0;
    while let Some((len, header_len)) = header(data) {
        let (frame, rest) = data.split_at_mut(header_len + len);
        let (head, payload) = frame.split_at_mut(header_len);
        let mask: [u8; 4] = head[header_len - 4..].try_into().expect("four bytes");
        unmask(payload, mask);
        let Ok(text) = simdutf8::basic::from_utf8(payload) else { return frames };
        on(text);
        frames += 1;
        data = rest;
    }
    frames
}

/// Payload and header length of a final, masked text frame.
#[inline]
fn header(data: &[u8]) -> Option<(usize, usize)> {
    let [0x81, second, a, b, ..] = data else { return None };
    match second & 0x7f {
        126 => Some((usize::from(u16::from_be_bytes([*a, *b])), 8)),
        127 => None,
        short => Some((usize::from(short), 6)),
    }
}

#[inline]
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}
