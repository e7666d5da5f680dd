//! What the server itself says to a client, in the form in which the client gets everything.

use super::Shard;
use super::conn::Conn;
use crate::squeeze::write_text;

impl Conn {
    /// Appends words of the server's own as a frame.
    pub(super) fn write_words(&mut self, out: &mut Vec<u8>, text: &str) {
        match self.own.as_mut().and_then(|own| own.seal.as_mut()) {
            Some(seal) => seal.write_frame(out, text.as_bytes()),
            None => write_text(out, text.as_bytes(), self.flags.agreed.format()),
        }
    }
}

impl Shard {
    /// Says something to one client, behind all that waits for it already.
    pub(super) fn say(&mut self, slot: u32, text: &str) {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        if let Some(conn) = self.slots.get_mut(slot) {
            conn.write_words(&mut frame, text);
        }
        self.send_own(slot, &frame);
        self.scratch = frame;
    }
}
