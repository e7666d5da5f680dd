//! Compressed messages as their receiver reads them who has all the time in the world.

use flate2::{Decompress, FlushDecompress, Status};
use wse_core::websocket::ProtocolError;

/// "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message" (RFC 7692, section 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Opens messages a few bytes at a time, without a thought for what it costs.
pub struct Reader {
    state: Decompress,
    takeover: bool,
}

impl Reader {
    /// `takeover`: whether a message may refer to the ones before it.
    #[must_use]
    pub fn new(window_bits: u8, takeover: bool) -> Self {
        Self { state: Decompress::new_with_window_bits(false, window_bits), takeover }
    }

    /// Whether a message may refer to the ones before it.
    #[must_use]
    pub fn takeover(&self) -> bool {
        self.takeover
    }

    /// The message, or why there is none.
    ///
    /// # Errors
    /// What the connection must be failed for.
    pub fn read(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        if !self.takeover {
            self.state.reset(false);
        }
        let mut message = Vec::new();
        if !self.feed(payload, &mut message, limit)? {
            self.feed(&TAIL, &mut message, limit)?;
        }
        Ok(message)
    }

    /// Whether the last byte was that of a stream which says that it is over.
    fn feed(&mut self, mut input: &[u8], message: &mut Vec<u8>, limit: usize) -> Result<bool, ProtocolError> {
        let mut few = [0; 61];
        loop {
            let (taken, made) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(input, &mut few, FlushDecompress::None);
            let (taken, made) = (self.state.total_in() - taken, (self.state.total_out() - made) as usize);
            input = &input[taken as usize..];
            message.extend(&few[..made]);
            if message.len() > limit {
                return Err(ProtocolError::TooLarge);
            }
            match status {
                Err(_) => return Err(ProtocolError::BadDeflate),
                Ok(Status::StreamEnd) => {
                    self.state.reset(false);
                    if input.is_empty() {
                        return Ok(true);
                    }
                }
                Ok(_) if made == few.len() => {}
                Ok(_) if input.is_empty() => return Ok(false),
                Ok(_) if taken == 0 && made == 0 => return Err(ProtocolError::BadDeflate),
                Ok(_) => {}
            }
        }
    }
}
