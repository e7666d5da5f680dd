//! The rules for version 1, on certificates taken apart and put together anew. Handshakes with all kinds are in `tests/certificates*.rs`.

use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("../../../fixtures/ca.der");
const V1: &[u8] = include_bytes!("../../../fixtures/v1.der");
const V3: &[u8] = include_bytes!("../../../fixtures/v3.der");
/// The year 2040.
const NOW: u64 = 2_208_988_800;
const CENTURY: u64 = 100 * 365 * 86_400;

fn authorities(der: &[u8]) -> Result<Authorities, Problem> {
    let der = CertificateDer::from(der.to_vec());
    Authorities::new(vec![der], Arc::new(default_provider())).map_err(|(_, problem)| problem)
}

fn check_at(certificate: &[u8], now: u64) -> Result<(), Problem> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let authorities = authorities(AUTHORITY).expect("a good authority");
    let checked = [Role::Dialler, Role::Acceptor]
        .map(|role| authorities.check(&CertificateDer::from(certificate), &[], role, now));
    assert_eq!(checked[0], checked[1]);
    checked[0].clone()
}

fn check(certificate: &[u8]) -> Result<(), Problem> {
    check_at(certificate, NOW)
}

/// The things inside of a sequence.
fn parts(der: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, _) = strict(der, SEQUENCE).expect("DER");
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (_, after) = strict(rest, rest[0]).expect("DER");
        parts.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    parts
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let contents = parts.concat();
    let [high, low] = u16::try_from(contents.len()).expect("short").to_be_bytes();
    let header = match contents.len() {
        0..=127 => vec![0x30, low],
        128..=255 => vec![0x30, 0x81, low],
        _ => vec![0x30, 0x82, high, low],
    };
    [header, contents].concat()
}

/// A certificate with its signed part changed, and what goes with it left as it is.
fn with_signed(certificate: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut whole = parts(certificate);
    let mut signed = parts(&whole[0]);
    change(&mut signed);
    whole[0] = sequence(&signed);
    sequence(&whole)
}

#[test]
fn both_versions_of_an_authority_are_accepted_in_their_time() {
    assert_eq!(with_signed(V1, |_| {}), V1, "taking apart and putting together changes nothing");
    for certificate in [V1, V3] {
        assert_eq!(check(certificate), Ok(()));
        assert!(check_at(certificate, NOW + CENTURY).is_err());
        assert!(check_at(certificate, NOW / 2).is_err());
    }
    assert_eq!(check_at(V1, NOW + CENTURY), Err(Problem::NoAuthority), "the authority's time is over too");
}

#[test]
fn no_changed_byte_of_a_v1_certificate_is_accepted() {
    for at in 0..V1.len() {
        for change in [0x01, 0x80] {
            let mut changed = V1.to_vec();
            changed[at] ^= change;
            assert!(check(&changed).is_err(), "byte {at}");
        }
        assert!(check(&V1[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn version_2_and_version_1_with_fields_of_later_ones_are_refused() {
    let version = |number: u8| vec![0xa0, 3, 2, 1, number];
    assert_eq!(check(&with_signed(V3, |signed| signed[0] = version(1))), Err(Problem::Version));
    assert_eq!(check(&with_signed(V1, |signed| signed.insert(0, version(1)))), Err(Problem::Version));
    let later = Err(Problem::Malformed("version 1 with fields of later ones"));
    assert_eq!(check(&with_signed(V3, |signed| drop(signed.remove(0)))), later);
    assert_eq!(check(&with_signed(V1, |signed| signed.push(vec![0x81, 2, 0, 7]))), later);
    assert_eq!(check(&[V1, b"\0"].concat()), Err(Problem::Malformed("bytes behind it")));
}

#[test]
fn the_algorithm_is_the_one_that_was_signed_and_one_that_fits_the_key() {
    // ECDSA with SHA-384 where SHA-256 was signed.
    let mut whole = parts(V1);
    *whole[1].last_mut().expect("an algorithm") = 3;
    assert_eq!(check(&sequence(&whole)), Err(Problem::Malformed("two signature algorithms")));
    let other = whole[1].clone();
    let both = |whole: &mut Vec<Vec<u8>>, algorithm: Vec<u8>| {
        let mut signed = parts(&whole[0]);
        signed[1].clone_from(&algorithm);
        whole[0] = sequence(&signed);
        whole[1] = algorithm;
        check(&sequence(whole))
    };
    assert_eq!(both(&mut whole, other), Err(Problem::BadSignature));
    // RSA with SHA-256, by an authority whose key is another kind.
    let rsa = vec![0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11, 5, 0];
    assert_eq!(both(&mut whole, rsa), Err(Problem::Algorithm));
}

#[test]
fn an_issuer_is_known_by_its_whole_name() {
    let named = |name: &[u8]| with_signed(V1, |signed| signed[2] = name.to_vec());
    let subject = parts(&parts(V1)[0])[4].clone();
    assert_eq!(check(&named(&subject)), Err(Problem::UnknownIssuer));
    let issuer = parts(&parts(V1)[0])[2].clone();
    assert_eq!(check(&named(&issuer)), Ok(()));
    assert_eq!(check(&named(&sequence(&[]))), Err(Problem::UnknownIssuer));
}

#[test]
fn a_certificate_of_a_node_is_no_authority_unless_it_has_no_words_for_it() {
    assert_eq!(authorities(V3).map(drop), Err(Problem::NotAnAuthority));
    assert_eq!(authorities(V1).map(drop), Ok(()));
}

#[test]
fn a_length_has_one_way_to_be_written() {
    assert_eq!(strict(&[0x30, 1, 7, 8], SEQUENCE), Ok((&[7][..], &[8][..])));
    let long = [&[0x30, 0x81, 0x80][..], &[0; 128]].concat();
    assert_eq!(strict(&long, SEQUENCE).map(|(inside, _)| inside.len()), Ok(128));
    let wrong: [&[u8]; 7] = [
        &[],
        &[0x30],
        &[0x31, 0],
        &[0x30, 0x80, 0, 0],
        &[0x30, 0x81, 1, 7],
        &[0x30, 0x82, 0, 1, 7],
        &[0x30, 0x83, 0, 0, 1, 7],
    ];
    wrong.iter().for_each(|der| assert!(strict(der, SEQUENCE).is_err(), "{der:?}"));
    for cut in 0..long.len() {
        assert!(strict(&long[..cut], SEQUENCE).is_err());
    }
}

#[test]
fn bits_of_a_modulus_are_counted_without_the_zeros_in_front() {
    let key = |modulus: &[u8]| {
        let number = [&[2, modulus.len() as u8][..], modulus].concat();
        rsa_bits(&sequence(&[number, vec![2, 1, 3]]))
    };
    assert_eq!(key(&[0, 0x80, 0]), Ok(16));
    assert_eq!(key(&[0x7f, 0]), Ok(15));
    assert_eq!(key(&[0]), Ok(0));
    assert!(rsa_bits(b"\x30\x01").is_err() && rsa_bits(b"").is_err());
}
