//! TLS 1.3 between nodes, both sides with a certificate. `spec/cluster/links.md`, "Certificates".
//!
//! rustls does the work. What is of this house is the checking of peers, because of certificates of version 1, which webpki refuses and
//! which `openssl x509 -req` makes; that is why the resolvers and verifiers are given to rustls one by one.

mod authorities;
mod files;
mod peers;
mod problem;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use authorities::Certificate;
use files::Named;
use peers::Peers;

pub use authorities::{Authorities, Role};
pub use files::{TlsError, TlsFiles, Wrong};
pub use problem::Problem;
/// The clock of the system.
pub use rustls::time_provider::DefaultTimeProvider as SystemClock;
/// What certificates are compared with.
pub use rustls::time_provider::TimeProvider as Clock;

/// What both sides of a link export into the proof of the secret.
const EXPORT: &[u8] = b"EXPORTER-wse-link";

/// The certificates of a node and what it goes by with others.
#[derive(Debug)]
pub struct Tls {
    configs: ArcSwap<Configs>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    verify_name: bool,
}

/// What new handshakes go by.
#[derive(Debug)]
struct Configs {
    dialler: Arc<ClientConfig>,
    acceptor: Arc<ServerConfig>,
    subject: String,
    expires: i64,
}

impl Tls {
    /// Reads the files and checks that they fit each other and would pass with a peer that has the same authorities. `clock` is what
    /// certificates are compared with; `verify_name` is the option `tls_verify_name`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(files: &TlsFiles, verify_name: bool, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let configs = ArcSwap::from_pointee(Configs::load(files, verify_name, &clock, &provider)?);
        Ok(Self { configs, provider, clock, verify_name })
    }

    /// Reads files anew: handshakes from here on go by them, links that stand are not touched.
    ///
    /// # Errors
    /// The first thing that is wrong; then everything is as before.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let configs = Configs::load(files, self.verify_name, &self.clock, &self.provider)?;
        self.configs.store(Arc::new(configs));
        Ok(())
    }

    /// Whose certificate the node shows.
    #[must_use]
    pub fn subject(&self) -> String {
        self.configs.load().subject.clone()
    }

    /// Until when the node's certificate is valid, in seconds of Unix time.
    #[must_use]
    pub fn expires(&self) -> i64 {
        self.configs.load().expires
    }

    pub(crate) fn verify_name(&self) -> bool {
        self.verify_name
    }

    pub(crate) fn dialler(&self) -> Arc<ClientConfig> {
        self.configs.load().dialler.clone()
    }

    pub(crate) fn acceptor(&self) -> Arc<ServerConfig> {
        self.configs.load().acceptor.clone()
    }
}

impl Configs {
    fn load(
        files: &TlsFiles,
        verify_name: bool,
        clock: &Arc<dyn Clock>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let authorities = load_authorities(files, clock, provider)?;
        let chain = load_chain(files, &authorities, clock)?;
        let key = load_key(files, &chain, provider)?;
        let its = Certificate::read(&chain[0]).expect("read when it was checked");
        let (subject, expires) = (its.subject(), its.not_after());
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let peers = Arc::new(Peers {
            authorities: Arc::new(authorities),
            algorithms: provider.signature_verification_algorithms,
            verify_name,
        });
        let only = "this provider has TLS 1.3";
        let mut dialler = ClientConfig::builder_with_details(provider.clone(), clock.clone())
            .with_protocol_versions(&[&TLS13])
            .expect(only)
            .dangerous()
            .with_custom_certificate_verifier(peers.clone())
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
        let mut acceptor = ServerConfig::builder_with_details(provider.clone(), clock.clone())
            .with_protocol_versions(&[&TLS13])
            .expect(only)
            .with_client_cert_verifier(peers)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // No resumption: a link is checked by the files of its own time. And nobody on the way need know names.
        dialler.resumption = Resumption::disabled();
        dialler.enable_sni = false;
        acceptor.session_storage = Arc::new(NoServerSessionStorage {});
        acceptor.send_tls13_tickets = 0;
        Ok(Self { dialler: Arc::new(dialler), acceptor: Arc::new(acceptor), subject, expires })
    }
}

fn load_authorities(
    files: &TlsFiles,
    clock: &Arc<dyn Clock>,
    provider: &Arc<CryptoProvider>,
) -> Result<Authorities, TlsError> {
    let file = Named { option: "tls_ca", path: &files.ca };
    let certificates = file.certificates()?;
    let wrong = |(at, problem): (usize, Problem)| about(file, &certificates, at, problem);
    let authorities = Authorities::new(certificates.clone(), provider.clone()).map_err(wrong)?;
    let now = clock.current_time().ok_or(Problem::NoAuthority);
    now.and_then(|now| authorities.any_valid(now)).map_err(|problem| wrong((0, problem)))?;
    Ok(authorities)
}

/// The node's certificate and those behind it, which must be what the node would accept from another.
fn load_chain(
    files: &TlsFiles,
    authorities: &Authorities,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = Named { option: "tls_cert", path: &files.cert };
    let chain = file.certificates()?;
    let now = clock.current_time().ok_or_else(|| about(file, &chain, 0, Problem::NoAuthority))?;
    for role in [Role::Dialler, Role::Acceptor] {
        authorities
            .check(&chain[0], &chain[1..], role, now)
            .map_err(|problem| about(file, &chain, 0, problem))?;
    }
    Ok(chain)
}

fn load_key(
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsError> {
    let file = Named { option: "tls_key", path: &files.key };
    let key: PrivateKeyDer<'static> = file.key()?;
    let bad = |error: rustls::Error| file.wrong(Wrong::BadKey(error.to_string()));
    let key = provider.key_provider.load_private_key(key).map_err(bad)?;
    let certificate = Certificate::read(&chain[0]).expect("read when it was checked");
    let its = SubjectPublicKeyInfoDer::from(certificate.public_key());
    if key.public_key().as_ref() == Some(&its) {
        Ok(key)
    } else {
        Err(file.wrong(Wrong::NotItsKey(files.cert.clone())))
    }
}

/// The error about one of the certificates of a file.
fn about(file: Named<'_>, certificates: &[CertificateDer<'_>], at: usize, problem: Problem) -> TlsError {
    let read = certificates.get(at).and_then(|der| Certificate::read(der).ok());
    let subject = read.as_ref().map(Certificate::subject).unwrap_or_default();
    let timed = matches!(problem, Problem::Expired | Problem::NotYetValid);
    let validity = read.filter(|_| timed).map(|read| read.validity());
    file.wrong(Wrong::Certificate { number: at + 1, subject, problem, validity })
}

/// The subject of a peer's certificate, for the log.
pub(crate) fn subject_of(chain: Option<&[CertificateDer<'_>]>) -> Option<String> {
    Certificate::read(chain?.first()?).ok().map(|read| read.subject())
}

/// The bytes that both sides of a TLS connection know and nobody else.
pub(crate) fn export(
    export: impl FnOnce([u8; 32], &[u8], Option<&[u8]>) -> Result<[u8; 32], rustls::Error>,
) -> Result<[u8; 32], rustls::Error> {
    export([0; 32], EXPORT, None)
}
