//! The handle of a link, for any thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wse_mesh::ids::Session;
use wse_mesh::wire::Header;
use wse_mesh::wire::header::{HEADER, MAX_FRAME};

use crate::closed::Closed;
use crate::frames::Frames;
use crate::queue::{Bounds, Class, Ending, NotPushed, Queue};

/// The shortest payload that is worth a look at whether it can be compressed.
const WORTH_SQUEEZING: usize = 257;

/// A link to another node. Clones are the same link; none of its methods waits for anything but a lock that is held for the copy of a
/// frame.
#[derive(Clone, Debug)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) about: About,
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
    admitted: AtomicBool,
    pub(crate) admission: Notify,
    paused: AtomicBool,
    resumed: Notify,
    squeeze: AtomicBool,
    /// Frames longer than this are not for the peer.
    peer_max: AtomicUsize,
}

/// What is known of a link from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its number: no other link of this process has or had it.
    pub session: Session,
    /// What was dialled, as it was given; `None` on the side that was dialled.
    pub dialled: Option<String>,
    /// The address of this end.
    pub local: SocketAddr,
    /// The address of the other end.
    pub remote: SocketAddr,
    /// The subject of the peer's certificate: it has TLS.
    pub subject: Option<String>,
    /// The peer has proven that it knows the secret.
    pub proven: bool,
}

/// What has passed a link. Each number only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read, as frames are before TLS.
    pub bytes_in: AtomicU64,
    /// Frames handed to the owner.
    pub frames_in: AtomicU64,
    /// Bytes written.
    pub bytes_out: AtomicU64,
    /// Frames pushed.
    pub frames_out: AtomicU64,
    /// Frames that were not pushed for want of room.
    pub dropped: AtomicU64,
}

impl Link {
    pub(crate) fn new(about: About, bounds: Bounds) -> Self {
        Self(Arc::new(Shared {
            about,
            queue: Queue::new(bounds),
            counters: Counters::default(),
            admitted: AtomicBool::new(false),
            admission: Notify::new(),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            squeeze: AtomicBool::new(false),
            peer_max: AtomicUsize::new(MAX_FRAME),
        }))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Its number.
    #[must_use]
    pub fn session(&self) -> Session {
        self.0.about.session
    }

    /// What is known of it from its beginning.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// What has passed it.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Bytes that were pushed and not yet written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.waiting()
    }

    /// The owner has found HELLO right: frames may be long and compressed from here on, and the link stays. `peer_max` is the longest frame
    /// that the peer takes.
    pub fn admit(&self, peer_max: usize) {
        self.0.peer_max.store(peer_max.min(MAX_FRAME), Relaxed);
        self.0.admitted.store(true, Relaxed);
        self.0.admission.notify_one();
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.0.admitted.load(Relaxed)
    }

    /// Reads no further until [`resume`](Self::resume): its owner has no room. Frames of the batch that is being handed on still come, and
    /// the peer, who is not heard meanwhile, is not to be blamed for that.
    pub fn pause(&self) {
        self.0.paused.store(true, Relaxed);
    }

    /// Reads on.
    pub fn resume(&self) {
        self.0.paused.store(false, Relaxed);
        self.0.resumed.notify_one();
    }

    /// Returns when the link is not paused.
    pub(crate) async fn until_resumed(&self) {
        while self.0.paused.load(Relaxed) {
            self.0.resumed.notified().await;
        }
    }

    /// Whether [`frame`](Self::frame) compresses: only when the peer has said that it can undo it.
    pub fn set_compress(&self, compress: bool) {
        self.0.squeeze.store(compress, Relaxed);
    }

    /// Whether the peer takes compressed frames: for whoever puts [`Frames`] together for several links.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.0.squeeze.load(Relaxed)
    }

    /// Pushes a frame.
    ///
    /// # Errors
    /// Nothing was pushed.
    pub fn frame(&self, class: Class, kind: u8, topic: &str, payload: &[u8]) -> Result<(), NotPushed> {
        if payload.len() >= WORTH_SQUEEZING && self.compresses() {
            let mut frames = Frames::new();
            frames.put_squeezed(kind, topic, payload);
            return self.push(class, &frames);
        }
        let (Ok(topic_len), Ok(payload_len)) = (u16::try_from(topic.len()), u32::try_from(payload.len()))
        else {
            return Err(NotPushed::TooLong);
        };
        let header = Header { kind, flags: 0, topic_len, payload_len };
        let length = header.frame_len();
        self.put(class, length, length, 1, |piece| {
            piece.extend_from_slice(&header.encode());
            piece.extend_from_slice(topic.as_bytes());
            piece.extend_from_slice(payload);
        })
    }

    /// Pushes frames, all or none of them.
    ///
    /// # Errors
    /// Nothing was pushed.
    pub fn push(&self, class: Class, frames: &Frames) -> Result<(), NotPushed> {
        let bytes = frames.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        self.put(class, bytes.len(), frames.longest(), frames.count(), |piece| piece.extend_from_slice(bytes))
    }

    /// Pushes frames that were put together elsewhere, all or none of them.
    ///
    /// # Errors
    /// Nothing was pushed.
    ///
    /// # Panics
    /// The bytes are not whole frames: the peer would take all that follows for something else.
    pub fn push_bytes(&self, class: Class, bytes: &[u8]) -> Result<(), NotPushed> {
        let (mut count, mut longest, mut rest) = (0, 0, bytes);
        while !rest.is_empty() {
            let header = Header::decode(rest, usize::MAX).expect("there is no limit");
            let length = header.map_or(HEADER, |header| header.frame_len());
            assert!(length <= rest.len(), "a frame to be pushed is cut");
            (count, longest, rest) = (count + 1, longest.max(length), &rest[length..]);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.put(class, bytes.len(), longest, count, |piece| piece.extend_from_slice(bytes))
    }

    fn put(
        &self,
        class: Class,
        length: usize,
        longest: usize,
        count: u32,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NotPushed> {
        if longest > self.0.peer_max.load(Relaxed) {
            return Err(NotPushed::TooLong);
        }
        let counters = &self.0.counters;
        let pushed = self.0.queue.push(class, length, put);
        match pushed {
            Ok(()) => counters.frames_out.fetch_add(count.into(), Relaxed),
            Err(NotPushed::Full) => counters.dropped.fetch_add(count.into(), Relaxed),
            Err(NotPushed::Closed | NotPushed::TooLong) => 0,
        };
        pushed
    }

    /// Ends the link: no more is pushed, what was is written, and then the peer's end is waited for, all within this time.
    pub fn close(&self, within: Duration) {
        self.0.queue.end(Ending::Flushed(Instant::now() + within));
    }

    /// Ends the link now; what waits is lost.
    pub fn cut(&self, why: &str) {
        self.0.queue.end(Ending::Cut(Closed::Cut(why.to_owned())));
    }
}
