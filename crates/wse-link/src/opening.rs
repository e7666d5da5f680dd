//! The first four frames of a link. `spec/cluster/links.md`, "The opening".

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wse_mesh::wire::bytes::put_number;
use wse_mesh::wire::header::HEADER;
use wse_mesh::wire::{Header, Kind, Malformed, Reader};

use crate::frames::Frames;
use crate::guard::Guard;
use crate::handshake::of_tls;
use crate::secret::{LENGTH, Meeting};
use crate::tls::Role;

const MAGIC: &[u8; 4] = b"WSEL";
const VERSION: u64 = 1;
/// Flag of a challenge: a secret is set.
const SECRET: u8 = 0x01;
const MAX_PAYLOAD: usize = 256;

/// Why there is no link.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// Somebody looked whether the port is open, as Kubernetes does every ten seconds.
    #[error("it said nothing and left")]
    Silent,
    /// What the peer's certificate or its TLS is wrong with.
    #[error("{0}")]
    Tls(String),
    #[error("it speaks TLS, and tls_ca, tls_cert and tls_key are not set here")]
    SpeaksTls,
    #[error("it does not know the secret: cluster_secret or cluster_name differ")]
    WrongProof,
    #[error("it has no cluster_secret, and one is set here")]
    NoSecretThere,
    #[error("it has a cluster_secret, and none is set here")]
    NoSecretHere,
    #[error(
        "it closed the connection where its proof was due: cluster_secret or cluster_name differ, or it has no room"
    )]
    NoProof,
    #[error("it is no node: {0}")]
    Garbage(&'static str),
    #[error("the connection was lost: {0}")]
    Lost(io::Error),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Garbage(malformed.0)
    }
}

impl From<io::Error> for Refusal {
    /// In TLS 1.3 a dialler hears only here that its certificate was refused.
    fn from(error: io::Error) -> Self {
        of_tls(&error).unwrap_or(Self::Lost(error))
    }
}

/// A challenge as it came.
struct Challenge {
    has_secret: bool,
    nonce: [u8; LENGTH],
}

/// Opens a link that was dialled.
pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    guard: &Guard,
    export: Option<[u8; LENGTH]>,
) -> Result<(), Refusal> {
    let mine = challenge(stream, guard, Role::Dialler).await?;
    let theirs = heard_challenge(stream, guard, Role::Acceptor).await?;
    let meeting = Meeting {
        cluster_name: &guard.cluster_name,
        dialler_nonce: &mine,
        acceptor_nonce: &theirs.nonce,
        export: export.as_ref(),
    };
    prove(stream, guard, &meeting, Role::Dialler).await?;
    heard_proof(stream, guard, &meeting, Role::Acceptor).await
}

/// Opens a link that was accepted: says nothing before the dialler has, and proves nothing before the dialler did.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    guard: &Guard,
    export: Option<[u8; LENGTH]>,
) -> Result<(), Refusal> {
    let theirs = match heard_challenge(stream, guard, Role::Dialler).await {
        Err(refusal @ (Refusal::NoSecretHere | Refusal::NoSecretThere)) => {
            // So that the other side can name the reason too.
            challenge(stream, guard, Role::Acceptor).await?;
            return Err(refusal);
        }
        other => other?,
    };
    let mine = challenge(stream, guard, Role::Acceptor).await?;
    let meeting = Meeting {
        cluster_name: &guard.cluster_name,
        dialler_nonce: &theirs.nonce,
        acceptor_nonce: &mine,
        export: export.as_ref(),
    };
    heard_proof(stream, guard, &meeting, Role::Dialler).await?;
    prove(stream, guard, &meeting, Role::Acceptor).await
}

async fn challenge<S: AsyncWrite + Unpin>(
    stream: &mut S,
    guard: &Guard,
    role: Role,
) -> Result<[u8; LENGTH], Refusal> {
    let mut nonce = [0; LENGTH];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let mut payload = MAGIC.to_vec();
    put_number(&mut payload, VERSION);
    payload.push(role as u8);
    payload.push(if guard.secret.is_some() { SECRET } else { 0 });
    payload.extend_from_slice(&nonce);
    say(stream, Kind::Challenge, &payload).await?;
    Ok(nonce)
}

async fn heard_challenge<S: AsyncRead + Unpin>(
    stream: &mut S,
    guard: &Guard,
    role: Role,
) -> Result<Challenge, Refusal> {
    let challenge = Challenge::read(&heard(stream, Kind::Challenge).await?, role)?;
    match (challenge.has_secret, guard.secret.is_some()) {
        (true, false) => Err(Refusal::NoSecretHere),
        (false, true) => Err(Refusal::NoSecretThere),
        _ => Ok(challenge),
    }
}

async fn prove<S: AsyncWrite + Unpin>(
    stream: &mut S,
    guard: &Guard,
    meeting: &Meeting<'_>,
    role: Role,
) -> Result<(), Refusal> {
    let proof = guard.secret.as_ref().map(|secret| meeting.proof(secret, role));
    say(stream, Kind::Proof, proof.as_ref().map_or(&[], |proof| proof)).await
}

async fn heard_proof<S: AsyncRead + Unpin>(
    stream: &mut S,
    guard: &Guard,
    meeting: &Meeting<'_>,
    role: Role,
) -> Result<(), Refusal> {
    let proof = match heard(stream, Kind::Proof).await {
        Err(Refusal::Lost(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Refusal::NoProof);
        }
        other => other?,
    };
    match &guard.secret {
        Some(secret) if !meeting.is_proven(secret, role, &proof) => Err(Refusal::WrongProof),
        _ => Ok(()),
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, kind: Kind, payload: &[u8]) -> Result<(), Refusal> {
    let mut frame = Frames::new();
    frame.put(kind as u8, "", payload);
    stream.write_all(frame.bytes()).await?;
    Ok(stream.flush().await?)
}

/// The payload of a frame of this kind, and not a byte more from the stream.
async fn heard<S: AsyncRead + Unpin>(stream: &mut S, kind: Kind) -> Result<Vec<u8>, Refusal> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    if matches!(header, [0x15 | 0x16, 0x03, ..]) {
        return Err(Refusal::SpeaksTls);
    }
    let header = match Header::decode(&header, HEADER + MAX_PAYLOAD)? {
        Some(header) if header.kind == kind as u8 && header.topic_len == 0 => header,
        _ => return Err(Refusal::Garbage("another frame than that of the opening")),
    };
    let mut payload = vec![0; header.payload_len as usize];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

impl Challenge {
    fn read(payload: &[u8], role: Role) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.take(MAGIC.len(), "magic")? != MAGIC {
            return Err(Malformed("magic"));
        }
        if reader.number("version")? < VERSION {
            return Err(Malformed("version"));
        }
        if reader.byte("role")? != role as u8 {
            return Err(Malformed("role"));
        }
        let has_secret = reader.byte("flags")? & SECRET != 0;
        let nonce = reader.take(LENGTH, "nonce")?.try_into().map_err(|_| Malformed("nonce"))?;
        Ok(Self { has_secret, nonce })
    }
}

#[cfg(test)]
mod tests;
