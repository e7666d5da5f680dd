//! One server: started, used from any thread, stopped, started again.

mod reload;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use thiserror::Error;
use wse_core::auth::{KeyError, Minter, Verifier, VerifierConfig};
use wse_core::http::{Origins, Response};
use wse_core::options::{Compression, OptionError, Options, Secret, parse_origins};
use wse_core::websocket::deflate::Mode;
use wse_core::websocket::upgrade::Policy;

use crate::bell::Bell;
use crate::clock::Clock;
use crate::events::{Events, Keep, Taken};
use crate::health::Health;
use crate::inbox::Inbox;
use crate::keyring::{FetchError, Keyring};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::shard::{Shard, WAKE};
use crate::shared::{Pages, Shared, random_u64};

pub use reload::ReloadError;

/// Why a server could not be made or started.
#[derive(Debug, Error)]
pub enum StartError {
    /// It runs already.
    #[error("the server is already running")]
    Running,
    /// `host` names no address.
    #[error("host {0:?} can't be resolved: {1}")]
    Host(String, io::Error),
    /// The address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// The set of keys can't be read. The location is without what may be secret in it.
    #[error("jwks: {0} {1}")]
    Keys(String, FetchError),
    /// A thread or an epoll could not be had.
    #[error("can't start: {0}")]
    System(#[from] io::Error),
    /// `ALLOWED_ORIGINS` is malformed.
    #[error("{0}")]
    Option(#[from] OptionError),
}

/// Why a server could not be made.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An option is wrong.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// A key can't be used.
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// A WebSocket server of one process.
pub struct Node {
    host: String,
    port: u16,
    /// A running server has them as they were when it started, but for what is [replaced](reload) under way.
    options: ArcSwap<Options>,
    /// What signs tokens, if there is a key for that.
    minter: ArcSwapOption<Minter>,
    pages: Arc<Pages>,
    /// What the application is told beside messages, if it is told anything.
    keep: Mutex<Option<Keep>>,
    current: ArcSwapOption<Shared>,
    /// The queue outlives the server, so that its last events can be drained.
    events: Mutex<Arc<Events>>,
    /// One for all queues, if anybody wants it.
    bell: Mutex<Option<Arc<Bell>>>,
    address: Mutex<Option<SocketAddr>>,
    /// The threads of the running server; locked while it starts or stops and while options are replaced, so nothing that must not wait
    /// asks for it.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Takes the configuration; nothing is opened yet.
    ///
    /// # Errors
    /// An option or a key that can't be used.
    pub fn new(host: String, port: u16, options: Options) -> Result<Self, ConfigError> {
        options.check()?;
        verifier(&options)?;
        let minter = minter(&options)?;
        Ok(Self {
            host,
            port,
            options: ArcSwap::from_pointee(options),
            minter: ArcSwapOption::new(minter),
            pages: Arc::default(),
            keep: Mutex::default(),
            current: ArcSwapOption::empty(),
            events: Mutex::new(Arc::new(Events::new(0, false, (0, 0), 0))),
            bell: Mutex::default(),
            address: Mutex::new(None),
            threads: Mutex::default(),
        })
    }

    /// The configuration, with what was replaced in it.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// What signs tokens that the server accepts, if it has a key for that.
    #[must_use]
    pub fn minter(&self) -> Option<Arc<Minter>> {
        self.minter.load_full()
    }

    /// From the next start on, events are kept for [`Node::take_events`].
    pub fn keep_events(&self, keep: Keep) {
        *self.keep.lock() = Some(keep);
    }

    /// The running server, if it runs.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        self.current.load_full().map(Server::new)
    }

    /// Whether the port accepts.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.current.load().is_some()
    }

    /// The address that the server listens on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock()
    }

    /// Adds a page to be served at `path`; it replaces one that was there.
    pub fn add_page(&self, path: &str, content_type: &str, body: &[u8]) {
        self.pages.write().insert(path.to_owned(), Arc::new(Response::page(content_type, body)));
    }

    /// Opens the port and starts the threads; when it returns the port accepts. `allowed_origins` of the environment is given by the
    /// caller and counts where the option is not set. A node that `joins_cluster` is not ready before it has: it will be connected.
    ///
    /// # Errors
    /// [`StartError`] says why; nothing is left open then.
    pub fn start(&self, environment_origins: Option<&str>, joins_cluster: bool) -> Result<(), StartError> {
        let mut threads = self.threads.lock();
        if self.is_running() {
            return Err(StartError::Running);
        }
        let options = self.options();
        let origins = origins(&options, environment_origins)?;
        let compression = match options.compression {
            Compression::Off => Mode::Off,
            Compression::Shared => Mode::Shared,
            Compression::Full => Mode::Full,
        };
        let keyring = keyring(&options)?;
        let policy = Policy { path: options.path.clone(), origins, compression };
        let listener = self.bind()?;
        let address = listener.local_addr()?;
        let count = match options.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(64),
            count => count,
        };
        let polls = (0..count).map(|_| mio::Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let inboxes = polls
            .iter()
            .map(|poll| Ok(Arc::new(Inbox::new(mio::Waker::new(poll.registry(), WAKE)?))))
            .collect::<io::Result<Vec<_>>>()?;
        let run = random_u64();
        let events = self.fresh_events(&options, &inboxes, run);
        let resumed = inboxes.iter().map(|inbox| inbox.clone() as Arc<_>).collect();
        let pages = self.pages.clone();
        let clock = Clock::start();
        let options_then = (*options).clone();
        let shared = Arc::new(Shared::new(
            options_then,
            policy,
            keyring,
            events,
            pages,
            inboxes,
            clock,
            run,
            joins_cluster,
        ));
        *threads = spawn(&shared, polls, listener)?;
        if let Some(keyring) = &shared.keyring
            && let Err(error) = keyring.keep_fresh(clock, resumed)
        {
            shared.begin_stop();
            threads.drain(..).for_each(|thread| drop(thread.join()));
            return Err(error.into());
        }
        *self.address.lock() = Some(address);
        say_what_is_bounded(&options, address, count);
        self.current.store(Some(shared));
        Ok(())
    }

    fn fresh_events(&self, options: &Options, inboxes: &[Arc<Inbox>], run: u64) -> Arc<Events> {
        let keep = *self.keep.lock();
        let before = self.events();
        before.close();
        let limits = (options.max_inbound_queue_size, options.max_inbound_queue_bytes);
        let events = Events::new(run, keep.is_some(), limits, before.discard());
        let events = Arc::new(events.with(keep.unwrap_or_default()));
        events.wake_on_room(inboxes.iter().map(|inbox| inbox.clone() as Arc<_>).collect());
        let bell = self.bell.lock();
        *self.events.lock() = events.clone();
        if let Some(bell) = &*bell {
            events.ring_by(bell.clone());
        }
        drop(bell);
        before.give_way();
        events
    }

    fn bind(&self) -> Result<mio::net::TcpListener, StartError> {
        let mut addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| StartError::Host(self.host.clone(), error))?;
        let address = addresses.next().ok_or_else(|| {
            StartError::Host(self.host.clone(), io::Error::new(io::ErrorKind::NotFound, "no address"))
        })?;
        listen(address).map_err(|error| StartError::Bind(address, error))
    }

    /// Closes all connections (1012: come back) and the port, and ends the threads. Does nothing when the server does not run.
    pub fn stop(&self) {
        let mut threads = self.threads.lock();
        let Some(shared) = self.current.swap(None) else { return };
        shared.begin_stop();
        if let Some(cluster) = shared.cluster.get() {
            cluster.stop();
        }
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread had panicked");
            }
        }
        let address = self.address.lock().take().map(|address| address.to_string()).unwrap_or_default();
        shared.events.close();
        tracing::info!(%address, "stopped");
    }

    /// The queue of events, of the running server or of the one that ran last.
    #[must_use]
    pub fn events(&self) -> Arc<Events> {
        self.events.lock().clone()
    }

    /// A descriptor that can be read exactly while there are events to take, or the server has stopped. It is never to be read, written or
    /// closed, and lives as long as the node.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn event_fd(&self) -> io::Result<RawFd> {
        let mut bell = self.bell.lock();
        if let Some(bell) = &*bell {
            return Ok(bell.fd());
        }
        let new = Arc::new(Bell::new()?);
        self.events().ring_by(new.clone());
        let fd = new.fd();
        *bell = Some(new);
        Ok(fd)
    }

    /// Takes up to `max` events, waiting up to `timeout` for the first.
    #[must_use]
    pub fn take_events(&self, max: usize, timeout: Duration) -> Vec<Taken> {
        let events = self.events();
        let taken = events.take(max);
        if !taken.is_empty() || timeout.is_zero() || !events.wait(timeout) {
            return taken;
        }
        events.take(max)
    }

    /// Events lost so far: those that nobody had taken when the server was started anew or stopped.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.events().dropped()
    }

    /// What the server says about itself to Prometheus, in its text format; zeros while it does not run.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut metrics =
            self.current.load().as_ref().map_or_else(Metrics::at_rest, |shared| Metrics::of(shared));
        metrics.health = self.health();
        metrics.to_text()
    }

    /// What the server says about itself; zeros while it does not run.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut health =
            self.current.load().as_ref().map(|shared| Health::of(shared)).unwrap_or_else(|| Health {
                recovery_enabled: self.options().recovery_enabled,
                presence_enabled: self.options().presence_enabled,
                ..Health::default()
            });
        health.inbound_queue_depth = self.events().depth();
        health.inbound_dropped = self.dropped_events();
        health
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Which pages may connect: as the option says, or the variable, or all.
fn origins(options: &Options, environment_origins: Option<&str>) -> Result<Origins, OptionError> {
    Ok(match (&options.allowed_origins, environment_origins) {
        (Some(list), _) => Origins::new(list),
        (None, Some(text)) => Origins::new(&parse_origins(text)?),
        (None, None) => Origins::All,
    })
}

/// The keys that tokens are checked with; a set is read here for the first time.
fn keyring(options: &Options) -> Result<Option<Arc<Keyring>>, StartError> {
    let Some(location) = &options.jwks else {
        let verifier = verifier(options).expect("checked when the node was made");
        return Ok(verifier.map(|verifier| Arc::new(Keyring::fixed(verifier))));
    };
    let config = VerifierConfig {
        algorithm: options.jwt_algorithm,
        issuer: options.jwt_issuer.clone(),
        audience: options.jwt_audience.clone(),
        key_id: options.jwt_key_id.clone(),
        ..VerifierConfig::default()
    };
    let keyring = Keyring::load(location, &config);
    keyring.map(|keyring| Some(Arc::new(keyring))).map_err(|(shown, error)| StartError::Keys(shown, error))
}

/// G8: whoever runs the server can add up what it may take.
fn say_what_is_bounded(options: &Options, address: SocketAddr, shards: usize) {
    let recovery = if options.recovery_enabled { options.recovery_memory_budget } else { 0 };
    let sum = options.max_outbound_total_bytes + options.max_inbound_queue_bytes + recovery;
    tracing::info!(
        %address,
        shards,
        max_connections = options.max_connections,
        max_outbound_queue_bytes = options.max_outbound_queue_bytes,
        max_outbound_total_bytes = options.max_outbound_total_bytes,
        max_inbound_queue_bytes = options.max_inbound_queue_bytes,
        recovery_memory_budget = recovery,
        queues_hold_at_most_bytes = sum,
        "listening"
    );
    if options.jwt_secret.is_none() && options.jwks.is_none() {
        tracing::warn!("jwt_secret is not set: every client is admitted");
    }
}

/// What tokens the options ask for; `None` without a key among them.
fn verifier_config(options: &Options) -> Option<VerifierConfig> {
    let secret = options.jwt_secret.as_ref()?;
    Some(VerifierConfig {
        algorithm: options.jwt_algorithm,
        secret: secret.expose().to_vec(),
        previous_secret: options.jwt_previous_secret.as_ref().map(|secret| secret.expose().to_vec()),
        issuer: options.jwt_issuer.clone(),
        audience: options.jwt_audience.clone(),
        key_id: options.jwt_key_id.clone(),
    })
}

fn verifier(options: &Options) -> Result<Option<Verifier>, KeyError> {
    verifier_config(options).map(Verifier::new).transpose()
}

fn minter(options: &Options) -> Result<Option<Arc<Minter>>, KeyError> {
    let Some(config) = verifier_config(options) else { return Ok(None) };
    let private_key = options.jwt_private_key.as_ref().map(Secret::expose);
    Ok(Minter::new(&config, private_key)?.map(Arc::new))
}

/// What the kernel may hold of a client's bytes that it can't send yet. Without a limit it takes megabytes for each client that does
/// not read, and tells so late of room that a slow reader looks like one that has stopped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 256 * 1024;

/// Binds without `SO_REUSEPORT`, so that a port in use is noticed.
fn listen(address: SocketAddr) -> io::Result<mio::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit both, which saves two calls for each.
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

fn spawn(
    shared: &Arc<Shared>,
    polls: Vec<mio::Poll>,
    listener: mio::net::TcpListener,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut listener = Some(listener);
    let mut threads = Vec::new();
    for (index, poll) in polls.into_iter().enumerate() {
        let (for_thread, listener) = (shared.clone(), listener.take());
        let thread = std::thread::Builder::new().name(format!("wse-io-{index}")).spawn(move || {
            #[cfg(target_os = "linux")]
            crate::slice::ask_for_short_slices();
            let mut shard = Shard::new(index as u8, for_thread, poll, listener);
            match shard.listen() {
                Ok(()) => shard.run(),
                Err(error) => tracing::error!(%error, "the listening socket could not be registered"),
            }
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => return Err(give_up(shared, threads, error)),
        }
    }
    if shared.api.is_some() {
        let for_thread = shared.clone();
        let thread =
            std::thread::Builder::new().name("wse-api".into()).spawn(move || crate::api::run(&for_thread));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => return Err(give_up(shared, threads, error)),
        }
    }
    Ok(threads)
}

fn give_up(shared: &Shared, threads: Vec<JoinHandle<()>>, error: io::Error) -> StartError {
    shared.begin_stop();
    for thread in threads {
        let _ = thread.join();
    }
    error.into()
}
