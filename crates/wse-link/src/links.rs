//! All links of a node: the port that accepts, and the dials.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};
use wse_mesh::ids::Session;
use wse_mesh::wire::header::MAX_FRAME;

use crate::dial::{self, DialError, Dialled};
use crate::guard::Guard;
use crate::handshake::{self, Opened, Stream};
use crate::line::Line;
use crate::link::{About, Link};
use crate::opening::Refusal;
use crate::owner::Owner;
use crate::queue::Bounds;
use crate::room::Room;
use crate::run::{self, Probation};
use crate::socket::{self, Port};

/// How long it may take from a connection to a link that is admitted.
pub const OPENING: Duration = Duration::from_secs(5);
/// Accepted connections that may be on their way there at a time.
pub const OPENINGS: usize = 64;
/// How long to wait when the process has no descriptors left.
const RETRY: Duration = Duration::from_millis(100);

/// What links of a node go by.
#[derive(Clone, Debug)]
pub struct Config {
    /// What keeps strangers out.
    pub guard: Guard,
    /// The longest frame that this node takes, as it says in HELLO.
    pub max_frame: usize,
    /// What may wait for each peer. Data has room for at least one frame.
    pub bounds: Bounds,
    /// [`OPENING`], but in tests.
    pub opening: Duration,
    /// [`OPENINGS`], but in tests.
    pub openings: usize,
}

/// What happened on the port, for any thread to read. Each number only grows, but `opening`.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Those of them that did not pass the guard.
    pub refused: AtomicU64,
    /// Those that ended without a word: somebody looked whether the port is open.
    pub silent: AtomicU64,
    /// Those that did not become a link in time.
    pub late: AtomicU64,
    /// Those that gave way to newer ones.
    pub crowded: AtomicU64,
    /// Times that accepting paused for want of descriptors.
    pub accept_pauses: AtomicU64,
    /// Connections that are not admitted, now.
    pub opening: AtomicU64,
}

/// All links of a node. It lives on one thread, in a `LocalSet` of a tokio runtime; the [`Link`]s that it makes can be used from any.
///
/// Names are resolved on threads of the runtime's pool for blocking work, so a small limit there (`max_blocking_threads`) bounds what a
/// resolver that hangs can hold, and the runtime is best ended with `shutdown_background`, which does not wait for it. An owner that
/// keeps the `Links` it is the owner of keeps itself, until the `LocalSet` is gone and it lets go of them.
#[derive(Clone)]
pub struct Links(Rc<Inner>);

struct Inner {
    config: Config,
    owner: Rc<dyn Owner>,
    stats: Arc<Stats>,
    room: Room,
    next_session: Cell<u64>,
    accepting: RefCell<Vec<AbortHandle>>,
    refused: Line,
    paused: Line,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Links {
    /// None yet. `owner` is told what happens.
    #[must_use]
    pub fn new(config: Config, owner: Rc<dyn Owner>) -> Self {
        let stats = Arc::<Stats>::default();
        let max_frame = config.max_frame.min(MAX_FRAME);
        Self(Rc::new(Inner {
            room: Room::new(config.openings, stats.clone()),
            config: Config { bounds: config.bounds.with_room_for(max_frame), max_frame, ..config },
            owner,
            stats,
            next_session: Cell::new(1),
            accepting: RefCell::default(),
            refused: Line::default(),
            paused: Line::default(),
        }))
    }

    /// What happened on the port.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.0.stats.clone()
    }

    /// Accepts links on a port, until [`stop_accepting`](Self::stop_accepting).
    ///
    /// # Errors
    /// The runtime can't watch over the socket.
    pub fn accept(&self, port: Port) -> io::Result<()> {
        let listener = TcpListener::from_std(port.listener)?;
        let accepting = spawn_local(accept(self.clone(), listener));
        self.0.accepting.borrow_mut().push(accepting.abort_handle());
        Ok(())
    }

    /// Closes the ports. Links stay, and connections that were accepted go on to become some.
    pub fn stop_accepting(&self) {
        self.0.accepting.borrow_mut().drain(..).for_each(|accepting| accepting.abort());
    }

    /// Dials `host:port`. The owner hears of the link before this returns it.
    ///
    /// # Errors
    /// There is no link.
    pub async fn dial(&self, address: &str, timeout: Duration) -> Result<Link, DialError> {
        let Dialled { opened, local, remote } = dial::dial(address, &self.0.config.guard, timeout).await?;
        let until = Instant::now() + self.0.config.opening;
        let (link, running) =
            self.begin(opened, Some(address.to_owned()), local, remote, Probation { until, seat: None });
        spawn_local(running);
        Ok(link)
    }

    /// Tells the owner of a new link; the future runs it.
    fn begin(
        &self,
        opened: Opened,
        dialled: Option<String>,
        local: SocketAddr,
        remote: SocketAddr,
        probation: Probation,
    ) -> (Link, impl Future<Output = ()> + use<>) {
        let inner = self.0.clone();
        let session = Session(inner.next_session.replace(inner.next_session.get() + 1));
        let proven = inner.config.guard.secret.is_some();
        let Opened { stream, subject } = opened;
        let about = About { session, dialled, local, remote, subject, proven };
        let link = Link::new(about, inner.config.bounds);
        inner.owner.handle_connected(&link);
        let running = {
            let link = link.clone();
            async move {
                let owner = &*inner.owner;
                let max_frame = inner.config.max_frame;
                let closed = match stream {
                    Stream::Plain(stream) => {
                        let (reader, writer) = stream.into_split();
                        run::run(&link, reader, writer, owner, probation, max_frame).await
                    }
                    Stream::Tls(stream) => {
                        let (reader, writer) = tokio::io::split(*stream);
                        run::run(&link, reader, writer, owner, probation, max_frame).await
                    }
                };
                owner.handle_closed(&link, &closed);
            }
        };
        (link, running)
    }
}

async fn accept(links: Links, listener: TcpListener) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                links.0.stats.accepted.fetch_add(1, Relaxed);
                drop(spawn_local(serve(links.clone(), stream, remote)));
            }
            // The peer has gone already, or a signal came: neither says anything about the next one.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => {
                links.0.stats.accept_pauses.fetch_add(1, Relaxed);
                if let Some(left_out) = links.0.paused.pass() {
                    tracing::warn!(left_out, %error, "accepting nodes pauses; raise the limit of open files (ulimit -n)");
                }
                sleep(RETRY).await;
            }
        }
    }
}

/// A connection that came in, from its first moment to its end.
async fn serve(links: Links, stream: TcpStream, remote: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    socket::prepare(&stream);
    let inner = &links.0;
    let until = Instant::now() + inner.config.opening;
    let seat = inner.room.enter();
    let opened = select! {
        biased;
        () = seat.evicted() => Err(Refused::Crowded),
        opened = timeout_at(until, handshake::accept(stream, &inner.config.guard)) => match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(refusal)) => Err(Refused::For(refusal)),
            Err(_) => Err(Refused::Late),
        },
    };
    match opened {
        Ok(opened) => {
            let probation = Probation { until, seat: Some(seat) };
            let (_, running) = links.begin(opened, None, local, remote, probation);
            running.await;
        }
        Err(refused) => inner.tell(remote, &refused),
    }
}

/// Why an accepted connection did not become a link.
enum Refused {
    For(Refusal),
    Late,
    Crowded,
}

impl Inner {
    /// Counts who was refused, with a line now and then: whatever strangers do, it costs no more.
    fn tell(&self, remote: SocketAddr, refused: &Refused) {
        let (counter, why) = match refused {
            Refused::For(Refusal::Silent) => {
                self.stats.silent.fetch_add(1, Relaxed);
                return;
            }
            Refused::For(refusal) => (&self.stats.refused, refusal.to_string()),
            Refused::Late => (&self.stats.late, "it said nothing of use in time".to_owned()),
            Refused::Crowded => (&self.stats.crowded, "others came before it was done".to_owned()),
        };
        counter.fetch_add(1, Relaxed);
        if let Some(left_out) = self.refused.pass() {
            tracing::warn!(left_out, %remote, why, "somebody at the port of the cluster was refused");
        }
    }
}
