//! What keeps strangers from the port.

use std::fmt;
use std::sync::Arc;

use wse_core::options::Secret;

use crate::tls::Tls;

/// Certificates, a secret, both, or neither.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Both sides of a link show certificates, and nothing is said in plaintext.
    pub tls: Option<Arc<Tls>>,
    /// Both sides of a link prove that they know it.
    pub secret: Option<Secret>,
    /// Goes into the proof, so that two clusters with one secret stay apart.
    pub cluster_name: String,
}

impl Guard {
    /// Whether anybody who reaches the port is taken for a node: to be said loudly.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tls.is_none() && self.secret.is_none()
    }
}

impl fmt::Display for Guard {
    /// What guards the port, for the line at the start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.tls, &self.secret) {
            (Some(_), Some(_)) => "TLS with certificates of both sides, and the secret of the cluster",
            (Some(_), None) => "TLS with certificates of both sides",
            (None, Some(_)) => "the secret of the cluster; what nodes say can be read and changed on the way",
            (None, None) => "nothing: whoever reaches it is taken for a node",
        })
    }
}
