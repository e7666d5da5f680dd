//! How a node takes part in a cluster, and why it can't.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wse_core::options::Secret;
use wse_link::tls::{SystemClock, Tls, TlsError, TlsFiles};
use wse_link::{Guard, Port};
use wse_mesh::wire::Address;

/// What `connect_cluster` is told.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Nodes that are dialled for ever, as `host:port`.
    pub peers: Vec<String>,
    /// The same; one that can be reached is enough.
    pub seeds: Vec<String>,
    /// Where others reach this node, if that is neither where it listens nor this end of its links.
    pub advertised: Option<String>,
    /// Where to listen.
    pub host: String,
    /// The port to listen on; 0 is any that is free.
    pub port: u16,
    /// The name of the cluster.
    pub name: String,
    /// What all nodes of it know.
    pub secret: Option<Secret>,
    /// The certificates of this node.
    pub tls: Option<TlsFiles>,
    /// Whether the name that was dialled must stand in the certificate.
    pub verify_name: bool,
    /// How often each peer is asked whether it is there.
    pub heartbeat: Duration,
    /// After how long a silence it is dead.
    pub dead_after: Duration,
    /// Nodes that keep a copy of a topic's history beside its home.
    pub replicas: usize,
}

/// Why a node does not take part. Nothing has changed then.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is nothing to connect.
    #[error("the server is not running: connect_cluster comes after start()")]
    NotRunning,
    /// It is in one.
    #[error("the server is part of a cluster already")]
    Already,
    /// The two would be one socket.
    #[error("cluster_port must not be the port of the clients ({0})")]
    PublicPort(u16),
    /// An argument has a value that is not allowed.
    #[error("{0}")]
    Argument(String),
    /// A certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port can't be listened on.
    #[error("cluster_port {1} of {0}: {2}")]
    Bind(String, u16, io::Error),
    /// There is no thread to be had.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

/// The configuration, read and checked.
pub(super) struct Ready {
    pub(super) members: wse_mesh::members::Config,
    pub(super) guard: Guard,
    pub(super) port: Port,
}

impl ClusterConfig {
    /// Reads the addresses and the files and binds the port.
    pub(super) fn make_ready(
        &self,
        public_port: u16,
        max_frame: usize,
        keeps_logs: bool,
    ) -> Result<Ready, ConnectError> {
        let peers = addresses("peers", &self.peers)?;
        let seeds = addresses("seeds", &self.seeds)?;
        let advertised = self.advertised.as_ref().map(|text| address("cluster_addr", text)).transpose()?;
        if self.name.is_empty() || self.name.len() > 255 {
            return Err(ConnectError::Argument(format!(
                "cluster_name has {} bytes; allowed: 1 to 255",
                self.name.len()
            )));
        }
        if self.dead_after < 2 * self.heartbeat || self.heartbeat < Duration::from_millis(10) {
            return Err(ConnectError::Argument(format!(
                "dead_after is {:?} and heartbeat_interval {:?}; allowed: at least 0.01 s, and dead_after at least twice the interval",
                self.dead_after, self.heartbeat
            )));
        }
        let tls = match &self.tls {
            Some(files) => Some(Arc::new(Tls::load(files, self.verify_name, Arc::new(SystemClock))?)),
            None => None,
        };
        if self.port != 0 && self.port == public_port {
            return Err(ConnectError::PublicPort(public_port));
        }
        let port = Port::bind(&self.host, self.port)
            .map_err(|error| ConnectError::Bind(self.host.clone(), self.port, error))?;
        // Who listens on one address alone is reached there and nowhere else, whatever the near ends of its links are.
        let bound = port.address();
        let only = if bound.ip().is_unspecified() { None } else { Address::of(bound.ip(), bound.port()) };
        let advertised = advertised.or(only);
        let guard = Guard { tls, secret: self.secret.clone(), cluster_name: self.name.clone() };
        let members = wse_mesh::members::Config {
            cluster: self.name.clone(),
            advertised,
            cluster_port: port.address().port(),
            peers,
            seeds,
            heartbeat_ms: self.heartbeat.as_millis() as u64,
            dead_after_ms: self.dead_after.as_millis() as u64,
            max_frame,
            versions: wse_mesh::wire::hello::Versions::OURS,
            capabilities: wse_mesh::wire::hello::ZSTD
                | if keeps_logs { wse_mesh::wire::hello::HISTORY } else { 0 },
        };
        Ok(Ready { members, guard, port })
    }
}

fn address(argument: &str, text: &str) -> Result<Address, ConnectError> {
    Address::parse(text).map_err(|error| ConnectError::Argument(format!("{argument}: {text:?}: {error}")))
}

fn addresses(argument: &str, texts: &[String]) -> Result<Vec<Address>, ConnectError> {
    texts.iter().map(|text| address(argument, text)).collect()
}
