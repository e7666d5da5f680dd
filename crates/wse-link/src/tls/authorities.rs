//! Who may issue certificates of nodes, and whether one of them has. `spec/cluster/links.md`, "Certificates".

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::FromDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

use super::problem::Problem;

/// Bits of an RSA key: fewer can be factored one day, more cost a peer seconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A side of a link; the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It dialled.
    Dialler = 0,
    /// It was dialled.
    Acceptor = 1,
}

/// The certificates of `tls_ca`.
#[derive(Debug)]
pub struct Authorities {
    list: Vec<Authority>,
    provider: Arc<CryptoProvider>,
}

/// One of them, with what is asked of it at each handshake.
#[derive(Debug)]
struct Authority {
    der: CertificateDer<'static>,
    /// For webpki.
    anchor: RootCertStore,
    not_before: i64,
    not_after: i64,
}

/// A certificate, read.
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl Authorities {
    /// Takes the authorities of a file.
    ///
    /// # Errors
    /// One of them is none, by its number in the file from 0.
    pub fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, (usize, Problem)> {
        let read = |(at, der)| Authority::new(der).map_err(|problem| (at, problem));
        let list = certificates.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { list, provider })
    }

    /// Whether a certificate was issued by one of them, and may be used at this time by a peer of this role. What is asked for names is
    /// the caller's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), Problem> {
        let read = Certificate::read(certificate)?;
        match read.0.version {
            X509Version::V1 => self.check_v1(&read, now),
            X509Version::V3 => {
                key_strength(&read.0.subject_pki)?;
                self.check_v3(certificate, intermediates, role, now)
            }
            _ => Err(Problem::Version),
        }
    }

    /// Whether any of them may issue certificates now.
    pub(super) fn any_valid(&self, now: UnixTime) -> Result<(), Problem> {
        match self.list.first() {
            Some(first) if !self.list.iter().any(|authority| authority.valid(now).is_ok()) => {
                first.valid(now)
            }
            Some(_) => Ok(()),
            None => Err(Problem::NoAuthority),
        }
    }

    fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.provider.signature_verification_algorithms
    }

    fn check_v3(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), Problem> {
        let mut roots = RootCertStore::empty();
        for authority in self.list.iter().filter(|authority| authority.valid(now).is_ok()) {
            roots.roots.extend_from_slice(&authority.anchor.roots);
        }
        if roots.is_empty() {
            return Err(Problem::NoAuthority);
        }
        match role {
            Role::Acceptor => {
                let wrong = |error| Problem::from_error(&error, "serverAuth");
                let parsed = ParsedCertificate::try_from(certificate).map_err(wrong)?;
                let algorithms = self.algorithms().all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)
                    .map_err(wrong)
            }
            Role::Dialler => {
                let provider = self.provider.clone();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| Problem::Other(error.to_string()))?;
                let checked = verifier.verify_client_cert(certificate, intermediates, now);
                checked.map(drop).map_err(|error| Problem::from_error(&error, "clientAuth"))
            }
        }
    }

    /// A certificate without extensions says nothing of what it may do, so it is taken for one thing alone: that an authority of the
    /// file has signed this key, directly.
    fn check_v1(&self, certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Problem> {
        let certificate = &certificate.0;
        if !certificate.extensions().is_empty()
            || certificate.issuer_uid.is_some()
            || certificate.subject_uid.is_some()
        {
            return Err(Problem::Malformed("version 1 with fields of later ones"));
        }
        if certificate.signature != certificate.signature_algorithm {
            return Err(Problem::Malformed("two signature algorithms"));
        }
        key_strength(&certificate.subject_pki)?;
        // Several authorities may have one name: a new key for the old one. The worst that can be said of any of them is kept.
        let mut problem = Problem::UnknownIssuer;
        for authority in &self.list {
            let issuer = Certificate::read(&authority.der).expect("read when it was taken").0;
            if issuer.subject().as_raw() != certificate.issuer().as_raw() {
                continue;
            }
            let in_time = || authority.valid(now).map_err(|_| Problem::NoAuthority);
            match self.issued(certificate, &issuer).and_then(|()| in_time()) {
                Ok(()) => {
                    let validity = certificate.validity();
                    return valid(validity.not_before.timestamp(), validity.not_after.timestamp(), now);
                }
                Err(found) => problem = found,
            }
        }
        Err(problem)
    }

    /// Whether the one has signed the other, by the algorithms that webpki would go by.
    fn issued(&self, certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), Problem> {
        if constrained(issuer) {
            return Err(Problem::Constrained);
        }
        let key = &issuer.subject_pki;
        let (key_algorithm, _) = strict(strict(key.raw, SEQUENCE)?.0, SEQUENCE)?;
        // Around what is signed there is nothing but the algorithm and the signature, in the one way in which DER writes them.
        let signed = certificate.tbs_certificate.as_ref();
        let (inside, _) = strict(certificate.as_raw(), SEQUENCE)?;
        let after_signed = inside.strip_prefix(signed).ok_or(Problem::Malformed("encoding"))?;
        let (signature_algorithm, after_algorithm) = strict(after_signed, SEQUENCE)?;
        let (signature, end) = strict(after_algorithm, BIT_STRING)?;
        let ([0, signature @ ..], [], 0) = (signature, end, key.subject_public_key.unused_bits) else {
            return Err(Problem::Malformed("encoding"));
        };
        let mut known = self.algorithms().all.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signature_algorithm
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
        });
        let algorithm = known.next().ok_or(Problem::Algorithm)?;
        algorithm
            .verify_signature(&key.subject_public_key.data, signed, signature)
            .map_err(|_| Problem::BadSignature)
    }
}

impl Authority {
    fn new(der: CertificateDer<'static>) -> Result<Self, Problem> {
        let certificate = Certificate::read(&der)?.0;
        key_strength(&certificate.subject_pki)?;
        if certificate.version == X509Version::V3 && !may_issue(&certificate)? {
            return Err(Problem::NotAnAuthority);
        }
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let mut anchor = RootCertStore::empty();
        anchor.add(der.clone()).map_err(|error| Problem::from_error(&error, "issuing"))?;
        Ok(Self { der, anchor, not_before, not_after })
    }

    fn valid(&self, now: UnixTime) -> Result<(), Problem> {
        valid(self.not_before, self.not_after, now)
    }
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Problem> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| Problem::Malformed("encoding"))?;
        if rest.is_empty() { Ok(Self(certificate)) } else { Err(Problem::Malformed("bytes behind it")) }
    }

    /// The key that its holder has, as it stands in the certificate.
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.0.subject_pki.raw
    }

    /// Whether webpki can't read it and the rules for version 1 count.
    pub(super) fn is_v1(&self) -> bool {
        self.0.version == X509Version::V1
    }

    /// Whose it is, for the log.
    pub(super) fn subject(&self) -> String {
        self.0.subject().to_string()
    }

    /// Until when it is valid, in seconds of Unix time.
    pub(super) fn not_after(&self) -> i64 {
        self.0.validity().not_after.timestamp()
    }

    /// From when until when it is valid, for the log.
    pub(super) fn validity(&self) -> String {
        let validity = self.0.validity();
        format!("valid from {} until {}", validity.not_before, validity.not_after)
    }
}

fn valid(not_before: i64, not_after: i64, now: UnixTime) -> Result<(), Problem> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > not_after {
        Err(Problem::Expired)
    } else if now < not_before {
        Err(Problem::NotYetValid)
    } else {
        Ok(())
    }
}

/// RFC 5280, 4.2.1.9 and 4.2.1.3: an authority says so, and where it says what its key is for, signing certificates is among it.
fn may_issue(certificate: &X509Certificate<'_>) -> Result<bool, Problem> {
    let wrong = |_| Problem::Malformed("extensions");
    let marked = certificate.basic_constraints().map_err(wrong)?.is_some_and(|found| found.value.ca);
    let usage = certificate.key_usage().map_err(wrong)?;
    Ok(marked && usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn constrained(issuer: &X509Certificate<'_>) -> bool {
    issuer
        .extensions()
        .iter()
        .any(|extension| matches!(extension.parsed_extension(), ParsedExtension::NameConstraints(_)))
}

fn key_strength(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Problem> {
    let kind = &key.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        let bits = rsa_bits(&key.subject_public_key.data)?;
        return if RSA_BITS.contains(&bits) {
            Ok(())
        } else {
            Err(Problem::Key(format!("RSA of {bits} bits; 2048 to 8192 are accepted")))
        };
    }
    if *kind == OID_SIG_ED25519 {
        return Ok(());
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match curve {
        Some(curve) if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY => {
            if [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521].contains(&curve) {
                Ok(())
            } else {
                Err(Problem::Key(format!("curve {curve}; P-256, P-384 and P-521 are accepted")))
            }
        }
        _ => Err(Problem::Key(format!("algorithm {kind}; RSA, ECDSA and Ed25519 are accepted"))),
    }
}

/// Bits of the modulus of an RSA key (RFC 8017, A.1.1).
fn rsa_bits(key: &[u8]) -> Result<usize, Problem> {
    let (modulus, _) = strict(strict(key, SEQUENCE)?.0, INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let Some(first) = modulus.get(zeros) else { return Ok(0) };
    Ok((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// What is inside of the first thing in DER, which is of this kind, and what is behind it (X.690, 10.1: a length has one way to be
/// written). Certificates are short.
fn strict(der: &[u8], kind: u8) -> Result<(&[u8], &[u8]), Problem> {
    let (length, rest) = match *der {
        [found, length @ 0..=0x7f, ref rest @ ..] if found == kind => (usize::from(length), rest),
        [found, 0x81, length @ 0x80..=0xff, ref rest @ ..] if found == kind => (usize::from(length), rest),
        [found, 0x82, high @ 1..=0xff, low, ref rest @ ..] if found == kind => {
            (usize::from(high) << 8 | usize::from(low), rest)
        }
        _ => return Err(Problem::Malformed("encoding")),
    };
    rest.split_at_checked(length).ok_or(Problem::Malformed("encoding"))
}

#[cfg(test)]
mod tests;
