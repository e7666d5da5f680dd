//! Bytes that a compressed message holds as they are.

/// A block that is stored and not compressed (RFC 1951, section 3.2.4). It begins and ends at a byte, so a compressed message may begin
/// with one and go on with what was compressed elsewhere, which refers to nothing before itself.
#[derive(Clone, Copy, Debug)]
pub struct StoredBlock<'a>(&'a [u8]);

impl<'a> StoredBlock<'a> {
    /// What comes before the bytes: the kind of block, and their number twice.
    const HEADER: usize = 5;

    /// # Panics
    /// With more than 65,535 bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() <= usize::from(u16::MAX), "a stored block has at most 65,535 bytes");
        Self(bytes)
    }

    /// Bytes of the block.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a block has a header and is never empty")]
    pub fn len(&self) -> usize {
        Self::HEADER + self.0.len()
    }

    /// Appends the block.
    pub fn write(&self, out: &mut Vec<u8>) {
        let len = self.0.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Deflater, Inflater, Window};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stored_head_and_a_compressed_tail_are_one_message(
            head in prop::collection::vec(any::<u8>(), 0..400),
            tail in prop::collection::vec(0_u8..4, 1..3000),
            window in 0..Window::COUNT,
        ) {
            let mut payload = Vec::new();
            StoredBlock::new(&head).write(&mut payload);
            prop_assert_eq!(payload.len(), StoredBlock::new(&head).len());
            payload.extend_from_slice(Deflater::new(Window::at(window), false).deflate(&[&tail]));
            let mut inflater = Inflater::new(false);
            let out = inflater.inflate(&payload, 10_000).unwrap().to_vec();
            prop_assert_eq!(out, [head, tail].concat());
        }
    }
}
