//! What a proxy says of the client before HTTP, and with it.

use std::net::SocketAddr;
use std::time::Instant;

use wse_core::http::Request;
use wse_core::proxy::{self, ProxyHeader, Source};

use super::Shard;
use super::conn::{Handshake, Phase};
use crate::log::limited;
use crate::shared::Shared;

impl Handshake {
    /// Of a socket that was just accepted.
    pub(super) fn new(shared: &Shared, address: SocketAddr) -> Self {
        let header_due = shared.options.proxy_protocol && shared.proxies.contains(address.ip());
        Self {
            address,
            hop: Some(address),
            header_due,
            began: Instant::now(),
            head: Vec::new(),
            awaits_reading: None,
            kept: None,
            is_idle: false,
            is_unsent: false,
            has_more: false,
        }
    }
}

impl Shard {
    /// Takes the PROXY header, where one is due, off the front of the buffer. Says who speaks HTTP behind it, as far as is known, and
    /// how many of the `len` bytes are left; nothing if the header is not whole yet, or if it is wrong and the connection is gone.
    pub(super) fn take_proxy_header(&mut self, slot: u32, len: usize) -> Option<(Option<SocketAddr>, usize)> {
        let conn = self.slots.get_mut(slot)?;
        let Phase::Handshake(handshake) = &mut conn.phase else { return None };
        if !handshake.header_due {
            return Some((handshake.hop, len));
        }
        match ProxyHeader::parse(&self.buffer[..len]) {
            ProxyHeader::Partial => {
                handshake.head = self.buffer[..len].to_vec();
                None
            }
            ProxyHeader::Whole(source, end) => {
                handshake.header_due = false;
                match source {
                    Source::Client(address) => (handshake.address, handshake.hop) = (address, Some(address)),
                    Source::Local => {}
                    Source::Unknown => handshake.hop = None,
                }
                self.buffer.copy_within(end..len, 0);
                Some((handshake.hop, len - end))
            }
            ProxyHeader::Refused(error) => {
                let peer = handshake.address;
                limited!(warn, self.shared.clock, %peer, %error, "a connection from a trusted proxy was dropped");
                self.drop_without_header(slot);
                None
            }
        }
    }

    /// Without its PROXY header nobody knows to whom an answer would go, so there is none.
    pub(super) fn drop_without_header(&mut self, slot: u32) {
        self.handle().stats.rejected.add(1);
        self.drop_conn(slot);
    }
}

/// The client, if somebody who is trusted says more of it than the connection does.
pub(super) fn forwarded(
    shared: &Shared,
    hop: Option<SocketAddr>,
    request: &Request<'_>,
) -> Option<SocketAddr> {
    if shared.proxies.is_empty() {
        return None;
    }
    hop.map(|hop| proxy::client(hop, request, &shared.proxies))
}
