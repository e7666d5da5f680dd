//! Certificates as people make them: with `openssl` on the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use wse_link::tls::{Tls, TlsError, TlsFiles};
use wse_link::{Class, Closed, Failure, Guard};

use super::{Node, PATIENCE, config, pair};

/// The lines of the deployment guide, word for word.
pub const GUIDE: &str = r#"
# Generate CA
openssl ecparam -genkey -name prime256v1 -out ca.key
openssl req -new -x509 -key ca.key -out ca.pem -days 365 -subj "/CN=WSE CA"

# Generate node certificate
openssl ecparam -genkey -name prime256v1 -out node.key
openssl req -new -key node.key -out node.csr -subj "/CN=wse-node-1"
openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key \
    -CAcreateserial -out node.pem -days 365
"#;

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Folder {
    pub fn new() -> Self {
        let name = format!("wse-link-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// With what the guide's lines make.
    pub fn of_guide() -> Self {
        let folder = Self::new();
        folder.sh(GUIDE);
        folder
    }

    /// Runs lines of a shell there.
    pub fn sh(&self, lines: &str) {
        let output = Command::new("sh").args(["-eu", "-c", lines]).current_dir(&self.0).output();
        let output = output.expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{lines}\n{said}\n(these tests need openssl on the command line)");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(file), text).expect("written");
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("a file")
    }

    /// The files `NAME.pem` and `NAME.key` and the authorities `CA.pem`.
    pub fn files(&self, name: &str, ca: &str) -> TlsFiles {
        let path = |file: String| -> PathBuf { self.0.join(Path::new(&file)) };
        TlsFiles {
            ca: path(format!("{ca}.pem")),
            cert: path(format!("{name}.pem")),
            key: path(format!("{name}.key")),
        }
    }

    /// An authority of this name.
    pub fn authority(&self, name: &str) {
        self.sh(&format!(
            "openssl ecparam -genkey -noout -name prime256v1 -out {name}.key
             openssl req -new -x509 -key {name}.key -out {name}.pem -days 365 -subj '/CN={name}'"
        ));
    }

    /// A certificate of this name, issued by an authority: of version 1 where no extensions are given. `key` are the arguments of
    /// `openssl genpkey`.
    pub fn issue(&self, name: &str, ca: &str, key: &str, extensions: &str) {
        let extended = if extensions.is_empty() { String::new() } else { format!("-extfile {name}.ext") };
        self.write(&format!("{name}.ext"), extensions);
        self.sh(&format!(
            "openssl genpkey {key} -out {name}.key 2>/dev/null
             openssl req -new -key {name}.key -out {name}.csr -subj '/CN={name}'
             openssl x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out {name}.pem -days 100 {extended}"
        ));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
pub const V3: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/// The clock of a node, so many days off.
#[derive(Debug)]
pub struct Off(pub i64);

pub const DAY: u64 = 86_400;

impl TimeProvider for Off {
    fn current_time(&self) -> Option<UnixTime> {
        let now = DefaultTimeProvider.current_time()?.as_secs();
        let now = now.checked_add_signed(self.0 * DAY as i64)?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

pub fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
    Tls::load(files, false, Arc::new(DefaultTimeProvider))
}

pub fn guard(tls: Tls) -> Guard {
    Guard { tls: Some(Arc::new(tls)), secret: None, cluster_name: "wse".into() }
}

pub fn node(files: &TlsFiles) -> Node {
    Node::start(config(guard(load(files).expect("good files"))))
}

/// What a dial comes to, with the words for the log.
pub async fn denied(here: &Node, there: &Node) -> String {
    let error = here.dial(there).await.expect_err("no link");
    assert_eq!(error.failure, Failure::Denied, "{error}");
    error.text
}

/// The link stands both ways and carries a frame.
pub async fn meet(here: &Node, there: &Node) {
    for (one, other) in [(here, there), (there, here)] {
        let (dialled, accepted) = pair(one, other).await;
        assert!(dialled.about().subject.is_some() && accepted.about().subject.is_some());
        let long = vec![7; 300_000];
        assert_eq!(dialled.frame(Class::Data, 0x14, "over TLS", &long), Ok(()));
        assert_eq!(other.frames(1).await[0].2, long);
        dialled.close(PATIENCE);
        assert_eq!(one.closed().await, Closed::Here);
        assert_eq!(other.closed().await, Closed::ByPeer);
    }
}
