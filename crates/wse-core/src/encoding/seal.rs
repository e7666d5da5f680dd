//! Messages sealed for one client: ECDH on P-256, HKDF-SHA256, AES-256-GCM.
//!
//! It hides messages from whatever ends TLS between the two. Both sides have the key, so the server reads everything, and a message
//! that is held back or sent twice is not noticed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::SEALED;
use crate::websocket::Opcode;
use crate::websocket::deflate::Inflater;
use crate::websocket::frame::{ServerFrames, ServerHeader};

/// Bytes of an initialization vector.
pub const IV_LEN: usize = NONCE_LEN;
/// Bytes of the tag that proves that a message is what was sealed.
pub const TAG_LEN: usize = 16;
/// Bytes that sealing adds to a message: `E:`, the initialization vector and the tag.
pub const OVERHEAD: usize = SEALED.len() + IV_LEN + TAG_LEN;
/// Bytes of a private key: a number below the order of the curve.
pub const PRIVATE_KEY_LEN: usize = 32;
/// Bytes of a public key: 4 and both coordinates.
const PUBLIC_KEY_LEN: usize = 65;
/// Bytes of the key that both sides derive.
const KEY_LEN: usize = 32;
/// What the key is for, so that it is never the key of something else.
const INFO: &[u8] = b"wse-encryption/aes-gcm-key";

/// Why there is no key. The client is told in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not base64, or not 65 bytes of an uncompressed point.
    #[error("encryption_public_key is not the base64 of 65 bytes, an uncompressed point of P-256")]
    NotAPoint,
    /// The right form, but no point of the curve.
    #[error("encryption_public_key is no point of the curve P-256")]
    NotOnTheCurve,
}

/// Why a sealed message can't be read. The client is told in these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Less than what sealing adds.
    #[error("what follows E: is shorter than an initialization vector and a tag")]
    TooShort,
    /// Another key, or not what was sealed.
    #[error("the sealed message was not sealed with the key of this connection, or was changed on its way")]
    NotAuthentic,
}

/// The server's half of a key exchange.
pub struct KeyPair {
    private: PrivateKey,
    public: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A pair of random bytes; `None` for the one draw in four thousand million that is no number below the curve's order.
    #[must_use]
    pub fn new(random: &[u8; PRIVATE_KEY_LEN]) -> Option<Self> {
        let private = PrivateKey::from_private_key(&ECDH_P256, random).ok()?;
        let public = STANDARD.encode(private.compute_public_key().ok()?);
        Some(Self { private, public })
    }

    /// The public key as it is sent: base64 of the uncompressed point.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// What both sides seal with, derived from the other side's public key.
    ///
    /// The initialization vectors of this side are counted up from `first_iv`, drawn at random: so none comes twice, and those of the
    /// other side, which uses the same key, are elsewhere.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn agree(&self, public: &str, first_iv: [u8; IV_LEN]) -> Result<Seal, KeyError> {
        let point = STANDARD.decode(public).map_err(|_| KeyError::NotAPoint)?;
        if point.len() != PUBLIC_KEY_LEN || point[0] != 4 {
            return Err(KeyError::NotAPoint);
        }
        let point = UnparsedPublicKey::new(&ECDH_P256, point);
        agree(&self.private, point, KeyError::NotOnTheCurve, |secret| {
            Ok(Seal::new(&derive(secret), first_iv))
        })
    }
}

/// HKDF without a salt.
fn derive(secret: &[u8]) -> [u8; KEY_LEN] {
    struct Len;
    impl KeyType for Len {
        fn len(&self) -> usize {
            KEY_LEN
        }
    }
    let mut key = [0; KEY_LEN];
    let pseudorandom = Salt::new(HKDF_SHA256, &[]).extract(secret);
    let filled = pseudorandom.expand(&[INFO], Len).and_then(|okm| okm.fill(&mut key));
    filled.expect("32 bytes are less than HKDF has to give");
    key
}

/// What seals messages to one client and opens those from it.
#[derive(Debug)]
pub struct Seal {
    key: LessSafeKey,
    next_iv: [u8; IV_LEN],
}

impl Seal {
    fn new(key: &[u8; KEY_LEN], first_iv: [u8; IV_LEN]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the length that AES-256 takes");
        Self { key: LessSafeKey::new(key), next_iv: first_iv }
    }

    /// Appends a message as a payload: `E:`, initialization vector, ciphertext, tag.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let iv = self.take_iv();
        out.reserve(OVERHEAD + message.len());
        out.extend_from_slice(SEALED);
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(message);
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..]);
        out.extend_from_slice(tag.expect("a message is shorter than the 64 GiB that may be sealed").as_ref());
    }

    /// Appends a message as a frame.
    pub fn write_frame(&mut self, out: &mut Vec<u8>, message: &[u8]) {
        let header = ServerHeader::new(Opcode::Binary, message.len() + OVERHEAD);
        out.extend_from_slice(header.as_bytes());
        self.seal(message, out);
    }

    /// Appends frames of a server again, those of messages sealed.
    pub fn rewrite_frames(&mut self, out: &mut Vec<u8>, frames: &[u8]) {
        for frame in ServerFrames::of(frames) {
            match frame.opcode {
                Opcode::Text | Opcode::Binary if frame.compressed => {
                    // Compressed by a thread that did not know yet that keys are being exchanged.
                    let mut inflater = Inflater::new(false);
                    let opened = inflater.inflate(frame.payload, usize::MAX >> 1);
                    self.write_frame(out, opened.expect("the server compressed it itself"));
                }
                Opcode::Text | Opcode::Binary => self.write_frame(out, frame.payload),
                _ => out.extend_from_slice(frame.whole),
            }
        }
    }

    /// The message in a payload (`E:` left out).
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let Some((iv, rest)) = sealed.split_first_chunk::<IV_LEN>().filter(|(_, rest)| rest.len() >= TAG_LEN)
        else {
            return Err(OpenError::TooShort);
        };
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG_LEN);
        let mut message = ciphertext.to_vec();
        let nonce = Nonce::assume_unique_for_key(*iv);
        let opened = self.key.open_in_place_separate_tag(nonce, Aad::empty(), tag, &mut message);
        opened.map_err(|_| OpenError::NotAuthentic)?;
        Ok(message)
    }

    /// The next initialization vector, a number of 96 bits.
    fn take_iv(&mut self) -> [u8; IV_LEN] {
        let iv = self.next_iv;
        for byte in self.next_iv.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        iv
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::deflate::{Deflater, Window};
    use crate::websocket::frame::{server_frame_len, write_frame};
    use proptest::prelude::*;

    fn pair(byte: u8) -> KeyPair {
        KeyPair::new(&[byte; PRIVATE_KEY_LEN]).unwrap()
    }

    fn seals() -> (Seal, Seal) {
        let (server, client) = (pair(1), pair(2));
        let ours = server.agree(client.public(), [0xff; IV_LEN]).unwrap();
        let theirs = client.agree(server.public(), [7; IV_LEN]).unwrap();
        (ours, theirs)
    }

    #[test]
    fn no_number_out_of_range_makes_a_pair() {
        assert!(KeyPair::new(&[0; PRIVATE_KEY_LEN]).is_none());
        assert!(KeyPair::new(&[0xff; PRIVATE_KEY_LEN]).is_none());
        assert_eq!(STANDARD.decode(pair(1).public()).unwrap().len(), PUBLIC_KEY_LEN);
    }

    #[test]
    fn a_bad_public_key_says_why() {
        let ours = pair(1);
        let point = STANDARD.decode(pair(2).public()).unwrap();
        let mut off = point.clone();
        off[40] ^= 1;
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        let mut hybrid = point.clone();
        hybrid[0] = 6 + (point[64] & 1);
        for (bytes, error) in [
            (&off[..], KeyError::NotOnTheCurve),
            (&[&[4][..], &[0; 64]].concat(), KeyError::NotOnTheCurve),
            (&compressed, KeyError::NotAPoint),
            (&hybrid, KeyError::NotAPoint),
            (&point[..64], KeyError::NotAPoint),
            (&[0], KeyError::NotAPoint),
            (&[], KeyError::NotAPoint),
        ] {
            assert_eq!(ours.agree(&STANDARD.encode(bytes), [0; IV_LEN]).unwrap_err(), error, "{bytes:?}");
        }
        assert_eq!(ours.agree("no base64!", [0; IV_LEN]).unwrap_err(), KeyError::NotAPoint);
    }

    #[test]
    fn no_initialization_vector_comes_twice() {
        let (mut ours, theirs) = seals();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut out = Vec::new();
            ours.seal(b"x", &mut out);
            assert_eq!(theirs.open(&out[2..]).unwrap(), b"x");
            assert!(seen.insert(out[2..2 + IV_LEN].to_vec()));
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_not_opened() {
        let (mut ours, theirs) = seals();
        let mut out = Vec::new();
        ours.seal(b"{\"t\":\"secret\"}", &mut out);
        let sealed = &out[2..];
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(theirs.open(&changed), Err(OpenError::NotAuthentic), "{at}");
            let expected = if at < IV_LEN + TAG_LEN { OpenError::TooShort } else { OpenError::NotAuthentic };
            assert_eq!(theirs.open(&sealed[..at]), Err(expected), "{at}");
        }
        let other = pair(3).agree(pair(1).public(), [0; IV_LEN]).unwrap();
        assert_eq!(other.open(sealed), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_frame_that_was_compressed_is_sealed_as_what_is_in_it() {
        let (mut ours, theirs) = seals();
        let message = [b'x'; 1000];
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        Deflater::new(Window::LARGEST, false).write_frame(&mut frames, Opcode::Text, &[&message]);
        assert!(ServerFrames::of(&frames).all(|frame| frame.compressed));
        ours.rewrite_frames(&mut out, &frames);
        let frame = ServerFrames::of(&out).next().unwrap();
        assert!(!frame.compressed);
        assert_eq!(theirs.open(&frame.payload[2..]).unwrap(), message);
    }

    proptest! {
        #[test]
        fn frames_are_sealed_each_by_itself(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)) {
            let (mut ours, theirs) = seals();
            let (mut frames, mut out) = (Vec::new(), Vec::new());
            for (at, message) in messages.iter().enumerate() {
                write_frame(&mut frames, if at % 2 == 0 { Opcode::Text } else { Opcode::Binary }, message);
            }
            write_frame(&mut frames, Opcode::Ping, b"plain");
            ours.rewrite_frames(&mut out, &frames);
            let mut left = &out[..];
            for message in &messages {
                let (frame, rest) = left.split_at(server_frame_len(left));
                left = rest;
                let payload = ServerFrames::of(frame).next().unwrap().payload;
                prop_assert_eq!(payload.len(), message.len() + OVERHEAD);
                prop_assert_eq!(&theirs.open(&payload[2..]).unwrap(), message);
            }
            prop_assert_eq!(left, b"\x89\x05plain");
        }
    }
}
