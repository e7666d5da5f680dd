//! Where a node listens for others, as people write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

/// A host name of 253 bytes, a colon and a port, and a little for brackets.
const MAX_ADDRESS: usize = 261;

/// Host and port, not resolved: a name may lead elsewhere tomorrow. Equal if written the same, but for case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// No `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadAddress {
    /// Too long for a name and a port.
    #[error("an address has at most 261 bytes")]
    Long,
    /// There is no colon behind the host, or brackets are missing around IPv6, or the host is empty or has bytes that no host has.
    #[error("an address is host:port, or [host]:port for IPv6")]
    Form,
    /// The port is not a number from 1 to 65535.
    #[error("the port of an address is a number from 1 to 65535")]
    Port,
}

impl Address {
    /// Reads `host:port` or `[v6]:port`.
    ///
    /// # Errors
    /// It is something else; the host is not looked up.
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        if text.len() > MAX_ADDRESS {
            return Err(BadAddress::Long);
        }
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress::Form)?;
        let bare = host
            .strip_prefix('[')
            .map_or(Some(host), |host| host.strip_suffix(']'))
            .ok_or(BadAddress::Form)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%".contains(&byte);
        let is_host = if bare.len() == host.len() {
            host.bytes().all(allowed)
        } else {
            bare.contains(':') && bare.bytes().all(|byte| byte == b':' || allowed(byte))
        };
        if bare.is_empty() || !is_host {
            return Err(BadAddress::Form);
        }
        // Digits alone: `parse` would take a sign.
        let is_port =
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        if !is_port {
            return Err(BadAddress::Port);
        }
        Ok(Address(text.to_ascii_lowercase().into()))
    }

    /// The address of an IP and a port; `None` if nobody could be reached there.
    #[must_use]
    pub fn of(ip: IpAddr, port: u16) -> Option<Address> {
        let ip = ip.to_canonical();
        (port > 0 && !ip.is_unspecified()).then(|| Address(SocketAddr::new(ip, port).to_string().into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_with_a_port_are_taken() {
        for text in [
            "10.0.0.1:9999",
            "wse-0.wse.default.svc.cluster.local:9999",
            "[::1]:1",
            "[fe80::1%eth0]:65535",
            "a_b:7",
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(Address::parse("Wse-0:9999"), Address::parse("wse-0:9999"), "names have no case");
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_what_is_wrong() {
        for text in ["", "host", "::1:9999", ":9999", "[]:9999", "[::1:9999", "a b:1", "a/b:1", "[abc]:1"] {
            assert_eq!(Address::parse(text), Err(BadAddress::Form), "{text}");
        }
        for text in ["host:", "host:0", "host:65536", "host:+1", "host:x"] {
            assert_eq!(Address::parse(text), Err(BadAddress::Port), "{text}");
        }
        assert_eq!(Address::parse(&format!("{}:1", "a".repeat(260))), Err(BadAddress::Long));
    }

    #[test]
    fn an_ip_is_written_as_it_would_be_dialled() {
        let of = |ip: &str, port| Address::of(ip.parse().unwrap(), port).map(|address| address.to_string());
        assert_eq!(
            of("::ffff:10.0.0.1", 9).as_deref(),
            Some("10.0.0.1:9"),
            "a mapped address is an IPv4 one"
        );
        assert_eq!(of("::1", 9).as_deref(), Some("[::1]:9"));
        assert_eq!(of("0.0.0.0", 9), None);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept(text in ".{0,40}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(address.as_str()).unwrap(), address);
            }
        }
    }
}
