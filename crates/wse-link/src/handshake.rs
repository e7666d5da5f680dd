//! From a connection to a link: TLS, then the opening.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::guard::Guard;
use crate::opening::{self, Refusal};
use crate::tls::{self, Problem, Tls};

/// How much of a refused peer is read, and for how long, so that it hears why instead of a reset.
const LINGER_BYTES: u64 = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// A connection whose peer has passed the guard.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// The subject of the peer's certificate.
    pub(crate) subject: Option<String>,
}

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The dialler's side; `host` is what was dialled.
pub(crate) async fn dial(
    mut stream: TcpStream,
    remote: SocketAddr,
    host: &str,
    guard: &Guard,
) -> Result<Opened, Refusal> {
    let Some(tls) = &guard.tls else {
        opening::dial(&mut stream, guard, None).await?;
        return Ok(Opened { stream: Stream::Plain(stream), subject: None });
    };
    let name = name(host, remote, tls)?;
    let connecting = TlsConnector::from(tls.dialler()).connect(name, stream).into_fallible();
    let mut stream = match connecting.await {
        Ok(stream) => stream,
        Err((error, stream)) => return Err(refuse(stream, &error).await),
    };
    let (_, session) = stream.get_ref();
    let subject = tls::subject_of(session.peer_certificates());
    let export = tls::export(|out, label, context| session.export_keying_material(out, label, context));
    opening::dial(&mut stream, guard, Some(export.map_err(io::Error::other)?)).await?;
    Ok(Opened { stream: Stream::Tls(Box::new(stream.into())), subject })
}

/// The acceptor's side.
pub(crate) async fn accept(mut stream: TcpStream, guard: &Guard) -> Result<Opened, Refusal> {
    if matches!(stream.peek(&mut [0]).await, Ok(0) | Err(_)) {
        return Err(Refusal::Silent);
    }
    let Some(tls) = &guard.tls else {
        opening::accept(&mut stream, guard, None).await?;
        return Ok(Opened { stream: Stream::Plain(stream), subject: None });
    };
    let accepting = TlsAcceptor::from(tls.acceptor()).accept(stream).into_fallible();
    let mut stream = match accepting.await {
        Ok(stream) => stream,
        Err((error, stream)) => return Err(refuse(stream, &error).await),
    };
    let (_, session) = stream.get_ref();
    let subject = tls::subject_of(session.peer_certificates());
    let export = tls::export(|out, label, context| session.export_keying_material(out, label, context));
    opening::accept(&mut stream, guard, Some(export.map_err(io::Error::other)?)).await?;
    Ok(Opened { stream: Stream::Tls(Box::new(stream.into())), subject })
}

/// The name that the certificate is held against with `tls_verify_name`. Without it any will do, and an address always is one.
fn name(host: &str, remote: SocketAddr, tls: &Tls) -> Result<ServerName<'static>, Refusal> {
    if !tls.verify_name() {
        return Ok(ServerName::IpAddress(remote.ip().into()));
    }
    ServerName::try_from(host.to_owned()).map_err(|_| {
        Refusal::Tls(format!("{host} is no name that a certificate could have (tls_verify_name)"))
    })
}

/// The reason why TLS ended, after the peer had the time to hear it: a socket that is closed with bytes unread is reset, and the alert
/// lost with it.
async fn refuse(mut stream: TcpStream, error: &io::Error) -> Refusal {
    let refusal = of_tls(error).unwrap_or_else(|| {
        Refusal::Tls(format!("it ended the connection in the TLS handshake ({error}); is TLS set there?"))
    });
    let linger = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER, linger).await;
    refusal
}

/// What TLS says of the peer, in words for the log; `None` when it is not TLS that has failed.
pub(crate) fn of_tls(error: &io::Error) -> Option<Refusal> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(Refusal::Tls(match error {
        Error::InvalidCertificate(_) => {
            format!("its certificate {}", Problem::from_error(error, "its role in this handshake"))
        }
        Error::NoCertificatesPresented => "it shows no certificate".into(),
        Error::InvalidMessage(_) => {
            "it does not speak TLS, and tls_ca, tls_cert and tls_key are set here".into()
        }
        Error::AlertReceived(alert) => format!("it refuses this node: {}", words(*alert)),
        Error::PeerIncompatible(why) => {
            format!("it speaks another TLS than 1.3, or with other algorithms: {why:?}")
        }
        other => other.to_string(),
    }))
}

fn words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "its tls_ca has no authority that issued the certificate of this one".into()
        }
        AlertDescription::CertificateExpired => {
            "by its clock this node's certificate is not valid now".into()
        }
        AlertDescription::CertificateRequired => "it got no certificate".into(),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError => {
            format!("it does not accept this node's certificate ({alert:?}); its log says why")
        }
        other => format!("TLS alert {other:?}"),
    }
}
