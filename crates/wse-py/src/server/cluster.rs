//! The server as one node of a cluster.

use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use wse_core::options::Secret;
use wse_node::cluster::{ClusterConfig, ConnectError, PeerStatus, Standing, TlsFiles};

use super::RustWSEServer;
use crate::arguments as arg;
use crate::ending::Release as _;

/// The port of the deployment guide.
const DEFAULT_PORT: u16 = 9999;
/// Copies beside the one of a topic's home, at the most.
const MAX_REPLICAS: i64 = wse_node::cluster::MAX_REPLICAS as i64;

#[pymethods]
impl RustWSEServer {
    /// Makes this server a node of a cluster: `broadcast` reaches the subscribers of all nodes, queue groups and patterns too.
    ///
    /// Comes after `start`, once. Returns when the node listens; the others are found from then on, in any order of starting, and again after
    /// each loss. Until this node has joined those that are there `/ready` says 503, for about six seconds at the most; where it is served before,
    /// `start(joining=True)` has it say so from the start. With recovery_enabled, which all nodes must have or none, the cluster has one order and one position for each topic, and a
    /// client recovers at any node. What was published before is no part of that: whoever is subscribed already is told by a gap.
    ///
    /// Args:
    ///     peers: Other nodes as "host:port", dialled for ever; this node's own address may be among them. Names are resolved at each dial.
    ///     tls_cert: PEM file with this node's certificate. With it the links are TLS 1.3 with certificates of both sides.
    ///     tls_key: PEM file with its key.
    ///     tls_ca: PEM file with the authorities that vouch for nodes. All three files, or none.
    ///     cluster_port: Port to listen on for other nodes; None is 9999, 0 any that is free (`cluster_info` tells it to the others). Never the
    ///         public port.
    ///     seeds: Like peers; one that can be reached is enough, since nodes tell each other of all they know.
    ///     cluster_addr: Where others reach this node; None is the address that it listens on or, where that is all of them,
    ///         this end of its links, with the cluster port.
    ///     cluster_secret: Text or bytes that all nodes know and prove to each other; without TLS it keeps strangers out, but what nodes say can
    ///         be read on the way.
    ///     cluster_name: Nodes of another name are refused.
    ///     cluster_host: Address to listen on; None is the server's host.
    ///     recovery_replicas: Copies of a topic's history beside the one of its home, 0 to 4. A message is delivered when all
    ///         of them hold it.
    ///     heartbeat_interval: Seconds between two questions whether a peer is there.
    ///     dead_after: Seconds of silence after which a peer is dead; at least twice the interval.
    ///     tls_verify_name: The name that is dialled must stand in the certificate.
    ///
    /// Raises:
    ///     RuntimeError: The server does not run, or is a node already.
    ///     ValueError: An argument has a value that is not allowed, one or two of the TLS files are missing, or one can't be used.
    ///     OSError: The port can't be listened on.
    #[pyo3(signature = (
        peers, tls_cert=None, tls_key=None, tls_ca=None, cluster_port=None, seeds=None, cluster_addr=None, cluster_secret=None,
        cluster_name="wse", cluster_host=None, recovery_replicas=1, heartbeat_interval=2.0, dead_after=8.0, tls_verify_name=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "these are its arguments in Python")]
    fn connect_cluster(
        &self,
        py: Python<'_>,
        peers: &Bound<'_, PyAny>,
        tls_cert: Option<PathBuf>,
        tls_key: Option<PathBuf>,
        tls_ca: Option<PathBuf>,
        cluster_port: Option<&Bound<'_, PyAny>>,
        seeds: Option<&Bound<'_, PyAny>>,
        cluster_addr: Option<String>,
        cluster_secret: Option<&Bound<'_, PyAny>>,
        cluster_name: &str,
        cluster_host: Option<&Bound<'_, PyAny>>,
        recovery_replicas: i64,
        heartbeat_interval: f64,
        dead_after: f64,
        tls_verify_name: bool,
    ) -> PyResult<()> {
        if !(0..=MAX_REPLICAS).contains(&recovery_replicas) {
            return Err(PyValueError::new_err(format!(
                "recovery_replicas is {recovery_replicas}; allowed: 0 to {MAX_REPLICAS}"
            )));
        }
        let config = ClusterConfig {
            peers: addresses("peers", peers)?,
            seeds: seeds.map_or_else(|| Ok(Vec::new()), |seeds| addresses("seeds", seeds))?,
            advertised: cluster_addr,
            host: cluster_host.map_or_else(|| Ok(self.host.clone()), arg::host)?,
            port: cluster_port.map_or(Ok(DEFAULT_PORT), arg::port)?,
            name: cluster_name.to_owned(),
            secret: cluster_secret.map(secret).transpose()?,
            tls: tls_files(tls_cert, tls_key, tls_ca)?,
            verify_name: tls_verify_name,
            heartbeat: arg::seconds("heartbeat_interval", heartbeat_interval)?,
            dead_after: arg::seconds("dead_after", dead_after)?,
            replicas: recovery_replicas as usize,
        };
        let Some(server) = self.node.server() else {
            return Err(connect_exception(&ConnectError::NotRunning));
        };
        let public_port = self.port();
        py.release(|| server.connect_cluster(&config, public_port)).map_err(|error| connect_exception(&error))
    }

    /// Whether at least one other node is reachable.
    fn cluster_connected(&self) -> bool {
        self.cluster_peers_count() > 0
    }

    /// How many other nodes are reachable: their link stands, and they were heard lately.
    fn cluster_peers_count(&self) -> usize {
        self.node.server().map_or(0, |server| server.peer_count())
    }

    /// The other nodes: those that are known, dead ones while they are remembered, and addresses behind which none was found yet.
    ///
    /// Returns:
    ///     A list of dicts: "address" ("host:port" or None), "instance_id" (16 hexadecimal digits, or None if it was not reached yet),
    ///     "connected" (bool), "state" ("alive", "suspect", "dead" or "unreached"), "leaving" (bool), "since" (seconds in that state),
    ///     "round_trip_ms" (float or None), "bytes_received", "bytes_sent" and "queued_bytes" (of the link that stands).
    fn cluster_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let peers = self.node.server().map_or_else(Vec::new, |server| server.peers());
        let list = PyList::empty(py);
        for peer in peers {
            list.append(peer_dict(py, &peer)?)?;
        }
        Ok(list)
    }

    /// This node as the others know it: {"instance_id": 16 hexadecimal digits, "address": "host:port" that it listens on}; None
    /// outside of a cluster.
    fn cluster_identity<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some((id, address)) = self.node.server().and_then(|server| server.cluster_identity()) else {
            return Ok(None);
        };
        let dict = PyDict::new(py);
        dict.set_item("instance_id", id.to_string())?;
        dict.set_item("address", address.to_string())?;
        Ok(Some(dict))
    }

    /// Reads the certificate, the key and the authorities anew, for links from here on; those that stand stay.
    ///
    /// Raises:
    ///     RuntimeError: The server is in no cluster with TLS.
    ///     ValueError: A file can't be used; then nothing has changed.
    #[pyo3(signature = (cert, key, ca))]
    fn reload_cluster_tls(&self, py: Python<'_>, cert: PathBuf, key: PathBuf, ca: PathBuf) -> PyResult<()> {
        let files = TlsFiles { ca, cert, key };
        let reloaded = py.release(|| self.node.server().and_then(|server| server.reload_cluster_tls(&files)));
        match reloaded {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(PyValueError::new_err(error.to_string())),
            None => Err(PyRuntimeError::new_err("the server is in no cluster with TLS")),
        }
    }

    /// The last messages that a peer was not given, at most 1,000, the oldest first.
    ///
    /// Returns:
    ///     A list of dicts: "topic", "message" (its first 1,024 bytes), "bytes" (of all of it), "peer" (instance_id), "reason", "timestamp"
    ///     (seconds since 1970).
    fn get_cluster_dlq_entries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let letters = self.node.server().map_or_else(Vec::new, |server| server.dead_letters());
        let list = PyList::empty(py);
        for letter in letters {
            let dict = PyDict::new(py);
            dict.set_item("topic", letter.topic)?;
            dict.set_item("message", PyBytes::new(py, &letter.message))?;
            dict.set_item("bytes", letter.len)?;
            dict.set_item("peer", letter.peer.to_string())?;
            dict.set_item("reason", letter.reason)?;
            dict.set_item("timestamp", letter.unix_ms as f64 / 1000.0)?;
            list.append(dict)?;
        }
        Ok(list)
    }
}

fn peer_dict<'py>(py: Python<'py>, peer: &PeerStatus) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("address", &peer.address)?;
    dict.set_item("instance_id", peer.id.map(|id| id.to_string()))?;
    dict.set_item("connected", peer.is_connected())?;
    let state = match peer.standing {
        Some(Standing::Alive) => "alive",
        Some(Standing::Suspect) => "suspect",
        Some(Standing::Dead) => "dead",
        None => "unreached",
    };
    dict.set_item("state", state)?;
    dict.set_item("leaving", peer.leaving)?;
    dict.set_item("since", peer.since_ms as f64 / 1000.0)?;
    dict.set_item("round_trip_ms", peer.round_trip_ms.map(|ms| ms as f64))?;
    dict.set_item("bytes_received", peer.bytes_in)?;
    dict.set_item("bytes_sent", peer.bytes_out)?;
    dict.set_item("queued_bytes", peer.queued)?;
    Ok(dict)
}

fn addresses(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let not_a_list = || {
        PyTypeError::new_err(format!(
            "{argument} is of type {}; allowed: a list of str",
            arg::type_name(value)
        ))
    };
    if value.is_instance_of::<pyo3::types::PyString>() {
        return Err(not_a_list());
    }
    value.extract().map_err(|_| not_a_list())
}

fn secret(value: &Bound<'_, PyAny>) -> PyResult<Secret> {
    let bytes: Vec<u8> = if let Ok(text) = value.extract::<&str>() {
        text.as_bytes().to_vec()
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        bytes.as_bytes().to_vec()
    } else {
        return Err(PyTypeError::new_err(format!(
            "cluster_secret is of type {}; allowed: str or bytes",
            arg::type_name(value)
        )));
    };
    if bytes.len() < 16 {
        return Err(PyValueError::new_err(format!(
            "cluster_secret has {} bytes; allowed: at least 16",
            bytes.len()
        )));
    }
    Ok(Secret::new(bytes))
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>, ca: Option<PathBuf>) -> PyResult<Option<TlsFiles>> {
    match (cert, key, ca) {
        (Some(cert), Some(key), Some(ca)) => Ok(Some(TlsFiles { ca, cert, key })),
        (None, None, None) => Ok(None),
        (cert, key, ca) => {
            let given = [("tls_cert", cert), ("tls_key", key), ("tls_ca", ca)];
            let missing: Vec<&str> =
                given.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| *name).collect();
            Err(PyValueError::new_err(format!(
                "{} not given; allowed: tls_cert, tls_key and tls_ca together, or none of them",
                missing.join(" and ")
            )))
        }
    }
}

fn connect_exception(error: &ConnectError) -> PyErr {
    match error {
        ConnectError::NotRunning | ConnectError::Already => PyRuntimeError::new_err(error.to_string()),
        ConnectError::PublicPort(_) | ConnectError::Argument(_) | ConnectError::Tls(_) => {
            PyValueError::new_err(error.to_string())
        }
        ConnectError::Bind(_, _, inner) | ConnectError::Thread(inner) => match inner.raw_os_error() {
            Some(number) => PyOSError::new_err((number, error.to_string())),
            None => PyOSError::new_err(error.to_string()),
        },
    }
}
