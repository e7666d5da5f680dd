//! The three PEM files of a node.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use super::problem::Problem;

/// A bundle of all authorities of the web has 200 KiB.
const MAX_BYTES: u64 = 4 << 20;

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Option `tls_ca`: the authorities.
    pub ca: PathBuf,
    /// Option `tls_cert`: the node's certificate, and after it those between it and the authority, if any.
    pub cert: PathBuf,
    /// Option `tls_key`: the key of the certificate, without a passphrase.
    pub key: PathBuf,
}

/// A file of a node that can't be used. Nothing has changed.
#[derive(Debug, Error)]
#[error("{option}: {}: {wrong}", path.display())]
pub struct TlsError {
    /// The option that names the file.
    pub option: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: Box<Wrong>,
}

/// What is wrong with a file.
#[derive(Debug)]
#[allow(missing_docs, reason = "the words are in Display")]
pub enum Wrong {
    Unreadable(io::Error),
    TooLong,
    NoPem(&'static str),
    BadPem(String),
    Encrypted,
    BadKey(String),
    NotItsKey(PathBuf),
    Certificate { number: usize, subject: String, problem: Problem, validity: Option<String> },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("there is no such file")
            }
            Self::Unreadable(error) => write!(f, "can't be read: {error}"),
            Self::TooLong => write!(f, "has more than {MAX_BYTES} bytes"),
            Self::NoPem(what) => write!(f, "has no {what} in PEM (-----BEGIN ...)"),
            Self::BadPem(error) => write!(f, "is not PEM: {error}"),
            Self::Encrypted => f.write_str("the key is encrypted with a passphrase, which nobody could type"),
            Self::BadKey(error) => write!(f, "the key can't be used: {error}"),
            Self::NotItsKey(path) => {
                write!(f, "the key does not belong to the certificate in {}", path.display())
            }
            Self::Certificate { number, subject, problem, validity } => {
                write!(f, "certificate {number}")?;
                if !subject.is_empty() {
                    write!(f, " ({subject})")?;
                }
                write!(f, " {problem}")?;
                validity.as_ref().map_or(Ok(()), |validity| write!(f, "; it is {validity}"))
            }
        }
    }
}

/// One file, with the option that names it for errors.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) option: &'static str,
    pub(super) path: &'a Path,
}

impl Named<'_> {
    pub(super) fn wrong(self, wrong: Wrong) -> TlsError {
        TlsError { option: self.option, path: self.path.to_owned(), wrong: Box::new(wrong) }
    }

    /// All certificates in it.
    pub(super) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match all {
            Ok(none) if none.is_empty() => Err(self.wrong(Wrong::NoPem("certificate"))),
            Ok(all) => Ok(all),
            Err(error) => Err(self.wrong(bad_pem(error))),
        }
    }

    /// The first key in it.
    pub(super) fn key(self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        match PrivateKeyDer::from_pem_slice(&text) {
            Ok(key) => Ok(key),
            Err(_) if text.windows(9).any(|word| word == b"ENCRYPTED") => Err(self.wrong(Wrong::Encrypted)),
            Err(pem::Error::NoItemsFound) => Err(self.wrong(Wrong::NoPem("private key"))),
            Err(error) => Err(self.wrong(bad_pem(error))),
        }
    }

    fn read(self) -> Result<Vec<u8>, TlsError> {
        let mut text = Vec::new();
        File::open(self.path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text))
            .map_err(|error| self.wrong(Wrong::Unreadable(error)))?;
        if text.len() as u64 > MAX_BYTES { Err(self.wrong(Wrong::TooLong)) } else { Ok(text) }
    }
}

fn bad_pem(error: pem::Error) -> Wrong {
    Wrong::BadPem(match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".into(),
        other => other.to_string(),
    })
}
