//! One task for each link: it reads, writes, and watches over its end.

use std::future::pending;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};

use crate::closed::Closed;
use crate::frames::Inbound;
use crate::link::Link;
use crate::owner::Owner;
use crate::queue::{Ending, Found};
use crate::room::Seat;

/// Bytes that a link may bring in before others, and its own writer, have their turn.
const TURN: usize = 64 * 1024;
/// How long the end of a link may take to be written, when the peer has ended already.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a link that is not admitted may stay, and its place among those.
pub(crate) struct Probation {
    pub(crate) until: Instant,
    pub(crate) seat: Option<Seat>,
}

/// Runs a link to its end.
pub(crate) async fn run(
    link: &Link,
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    owner: &dyn Owner,
    probation: Probation,
    max_frame: usize,
) -> Closed {
    let closed = select! {
        biased;
        closed = watch(link) => closed,
        closed = admission(link, probation) => closed,
        closed = read(link, reader, owner, max_frame) => closed,
        closed = write(link, &mut writer) => closed,
    };
    if closed == Closed::ByPeer {
        // The peer may be waiting for this end, and with TLS wants to hear it.
        let _ = timeout(FAREWELL, writer.shutdown()).await;
    }
    let closed = match (closed, link.shared().queue.how_it_ends()) {
        (_, Some(Ending::Cut(why))) => why,
        (Closed::ByPeer, Some(Ending::Flushed(_))) => Closed::Here,
        (closed, _) => closed,
    };
    link.shared().queue.clear();
    closed
}

/// Until somebody here wants the end.
async fn watch(link: &Link) -> Closed {
    let queue = &link.shared().queue;
    loop {
        match queue.how_it_ends() {
            None => queue.ending.notified().await,
            Some(Ending::Cut(why)) => return why,
            Some(Ending::Flushed(by)) => select! {
                () = sleep_until(by.into()) => return Closed::HereUnfinished,
                () = queue.ending.notified() => {}
            },
        }
    }
}

/// Until the link has not been admitted in time, or others needed its place.
async fn admission(link: &Link, probation: Probation) -> Closed {
    let Probation { until, seat } = probation;
    let evicted = async {
        match &seat {
            Some(seat) => seat.evicted().await,
            None => pending().await,
        }
    };
    select! {
        biased;
        () = link.shared().admission.notified() => {}
        () = evicted => return Closed::Crowded,
        () = sleep_until(until) => return Closed::Late,
    }
    drop(seat);
    pending().await
}

async fn read(
    link: &Link,
    mut reader: impl AsyncRead + Unpin,
    owner: &dyn Owner,
    max_frame: usize,
) -> Closed {
    let counters = &link.shared().counters;
    let mut inbound = Inbound::new(max_frame);
    let mut admitted = false;
    let mut turn = 0;
    loop {
        link.until_resumed().await;
        let count = match reader.read(inbound.room()).await {
            Ok(0) => return Closed::ByPeer,
            Ok(count) => count,
            Err(error) => return lost(&error),
        };
        inbound.handle_read(count);
        counters.bytes_in.fetch_add(count as u64, Relaxed);
        turn += count;
        loop {
            if !admitted && link.is_admitted() {
                admitted = true;
                inbound.admit();
            }
            let mut inflated = 0;
            let batch = inbound.batch(|frames| {
                counters.frames_in.fetch_add(frames.len() as u64, Relaxed);
                inflated = frames.iter().map(|frame| frame.header.frame_len()).sum();
                owner.handle_frames(link, frames);
            });
            match batch {
                Ok(true) => {
                    turn += inflated;
                    link.until_resumed().await;
                }
                Ok(false) => break,
                Err(malformed) => return malformed.into(),
            }
            if turn >= 2 * TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn write(link: &Link, writer: &mut (impl AsyncWrite + Unpin)) -> Closed {
    let queue = &link.shared().queue;
    let mut pieces = Vec::new();
    loop {
        match queue.take(&mut pieces) {
            Found::Pieces => {
                if let Err(error) = write_all(link, writer, &mut pieces).await {
                    return lost(&error);
                }
            }
            Found::Nothing => queue.pushed.notified().await,
            Found::End => {
                // The peer hears the end, and its own is what the reader waits for.
                return match writer.shutdown().await {
                    Ok(()) => pending().await,
                    Err(error) => lost(&error),
                };
            }
        }
    }
}

async fn write_all(
    link: &Link,
    writer: &mut (impl AsyncWrite + Unpin),
    pieces: &mut Vec<Vec<u8>>,
) -> io::Result<()> {
    let queue = &link.shared().queue;
    for piece in pieces.drain(..) {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let count = writer.write(rest).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[count..];
            link.shared().counters.bytes_out.fetch_add(count as u64, Relaxed);
            queue.written(count);
        }
        queue.recycle(piece);
    }
    writer.flush().await
}

fn lost(error: &io::Error) -> Closed {
    Closed::Lost(if error.kind() == io::ErrorKind::UnexpectedEof {
        "it ended without the end that TLS has".into()
    } else {
        error.to_string()
    })
}
