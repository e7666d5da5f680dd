//! Whatever comes as a certificate, only what the authority has signed is accepted, and nothing makes the checking panic.
//!
//! The first byte: bit 0 = the rest is a certificate, else a recipe for spoiling a good one (which is bit 1: version 1 or 3): place (2 bytes),
//! what to do there (0 to 3: put a byte, take bytes out, double them, cut all that follows) and with what (a byte).
//! `wse-link/fixtures` was made with `openssl`; it is valid for a hundred years and its keys are thrown away.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use wse_link::tls::{Authorities, Role};

const AUTHORITY: &[u8] = include_bytes!("../../crates/wse-link/fixtures/ca.der");
const V1: &[u8] = include_bytes!("../../crates/wse-link/fixtures/v1.der");
const V3: &[u8] = include_bytes!("../../crates/wse-link/fixtures/v3.der");
/// The year 2040, and 2300.
const IN_TIME: u64 = 2_208_988_800;
const AFTER: u64 = 10_413_792_000;

static AUTHORITIES: LazyLock<Authorities> =
    LazyLock::new(|| authorities(AUTHORITY).expect("a good authority"));

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let certificate =
        if choice & 1 != 0 { rest.to_vec() } else { spoilt(if choice & 2 == 0 { V1 } else { V3 }, rest) };
    let good = [V1, V3].into_iter().find(|good| has_what_was_signed(&certificate, good));
    for role in [Role::Dialler, Role::Acceptor] {
        assert!(!accepts(&AUTHORITIES, &certificate, role, AFTER), "after its time");
        let accepted = accepts(&AUTHORITIES, &certificate, role, IN_TIME);
        assert!(!accepted || good.is_some(), "not signed by the authority");
        assert!(accepted || ![V1, V3].contains(&&certificate[..]), "a good one is refused");
    }
    // As an authority it vouches for what is signed with its key alone.
    if let Some(imitator) = authorities(&certificate) {
        for good in [V1, V3] {
            let its_key = key(AUTHORITY).is_some_and(|key| holds(&certificate, key));
            assert!(its_key || !accepts(&imitator, good, Role::Dialler, IN_TIME));
        }
    }
});

fn authorities(der: &[u8]) -> Option<Authorities> {
    Authorities::new(vec![CertificateDer::from(der.to_vec())], Arc::new(default_provider())).ok()
}

fn accepts(authorities: &Authorities, certificate: &[u8], role: Role, at: u64) -> bool {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
    authorities.check(&CertificateDer::from(certificate), &[], role, now).is_ok()
}

fn spoilt(good: &[u8], recipe: &[u8]) -> Vec<u8> {
    let mut der = good.to_vec();
    for step in recipe.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([step[0], step[1]])) % (der.len() + 1);
        let some = (at + usize::from(step[3]) + 1).min(der.len());
        match step[2] % 4 {
            0 if at < der.len() => der[at] = step[3],
            1 => drop(der.drain(at..some)),
            2 => {
                let twice = der[at..some].to_vec();
                der.splice(at..at, twice);
            }
            3 => der.truncate(at),
            _ => {}
        }
        der.truncate(4000);
    }
    der
}

/// The first thing in DER: its header and contents, and the length of its header.
fn first(der: &[u8]) -> Option<(&[u8], usize)> {
    let (header, length) = match *der.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(*der.get(2)?)),
        0x82 => (4, usize::from(*der.get(2)?) << 8 | usize::from(*der.get(3)?)),
        _ => return None,
    };
    Some((der.get(..header + length)?, header))
}

/// Whether the part that is signed stands in a certificate, where it belongs.
fn has_what_was_signed(certificate: &[u8], good: &[u8]) -> bool {
    let signed = first(good).and_then(|(whole, header)| first(&whole[header..])).expect("a good one").0;
    // The header in front may be longer than it should: it is not signed.
    (2..8).any(|header| certificate.get(header..).is_some_and(|rest| rest.starts_with(signed)))
}

/// The point of a P-256 key in a certificate.
fn key(certificate: &[u8]) -> Option<&[u8]> {
    let at = certificate.windows(3).position(|bytes| bytes == [0x42, 0x00, 0x04])?;
    certificate.get(at + 3..at + 67)
}

fn holds(certificate: &[u8], key: &[u8]) -> bool {
    certificate.windows(key.len()).any(|bytes| bytes == key)
}
