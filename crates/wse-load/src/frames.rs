//! Frames of the client's side: masked ones out, unmasked ones in.

use wse_core::websocket::Opcode;
use wse_core::websocket::frame::{MAX_CONTROL_PAYLOAD, ServerHeader};
use wse_core::websocket::mask::unmask;

/// It protects proxies from what scripts in browsers send (RFC 6455, section 10.3), and here are neither, so one is good for all.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
/// Of a message only its beginning is looked at.
pub(crate) const LOOK_AT: usize = 512;

/// Appends one whole frame, masked "as a client MUST" (section 5.1).
pub(crate) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let header = ServerHeader::new(opcode, payload.len());
    let (fixed, length) = header.as_bytes().split_at(2);
    out.extend_from_slice(&[fixed[0], fixed[1] | 0x80]);
    out.extend_from_slice(length);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK, 0);
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came<'a> {
    /// The beginning of a message.
    Begin(&'a [u8]),
    /// It is whole, with so many bytes.
    Whole(u64),
    /// To be answered.
    Ping(&'a [u8]),
    /// The server closes, with this code if it says one.
    Close(Option<u16>),
}

/// The receiving half of a client: bytes in, messages counted. What is no beginning is passed over unseen.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// A cut header, or a cut beginning.
    kept: Vec<u8>,
    /// Bytes still to come of the frame whose beginning was seen.
    skip: u64,
    /// Bytes so far of the message that is coming, if one is.
    message: Option<u64>,
    /// The frame that is being passed over is the last of its message.
    last: bool,
}

struct Header {
    fin: bool,
    opcode: u8,
    len: u64,
    header_len: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a reserved bit is set");
        }
        if second & 0x80 != 0 {
            return Err("a frame of the server is masked");
        }
        let (len, len_bytes) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(len) => (u64::from(u16::from_be_bytes(*len)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(len) => (u64::from_be_bytes(*len), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        if len >> 63 != 0 {
            return Err("a frame has an impossible length");
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if opcode >= 8 && (!fin || len > MAX_CONTROL_PAYLOAD as u64) {
            return Err("a control frame is too long or in pieces");
        }
        Ok(Some(Self { fin, opcode, len, header_len: 2 + len_bytes }))
    }

    fn is_control(&self) -> bool {
        self.opcode >= 8
    }
}

impl Reader {
    /// Bytes that must stand before the next ones.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Keeps bytes that are to stand before the next ones, instead of those that were kept.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.kept.clear();
        self.kept.extend_from_slice(bytes);
        if bytes.is_empty() && self.kept.capacity() > LOOK_AT {
            self.kept = Vec::new();
        }
    }

    /// Takes what was kept and what came after it.
    ///
    /// # Errors
    /// What no server may send.
    pub(crate) fn take(&mut self, data: &[u8], mut on: impl FnMut(Came<'_>)) -> Result<(), &'static str> {
        let mut at = 0;
        loop {
            let here = self.skip.min((data.len() - at) as u64);
            at += here as usize;
            self.skip -= here;
            if self.skip > 0 {
                break;
            }
            if std::mem::take(&mut self.last)
                && let Some(len) = self.message.take()
            {
                on(Came::Whole(len));
            }
            let rest = &data[at..];
            let Some(header) = Header::parse(rest)? else { break };
            let payload = &rest[header.header_len..];
            let wanted = if header.is_control() { header.len } else { header.len.min(LOOK_AT as u64) };
            if (payload.len() as u64) < wanted {
                break;
            }
            let seen = &payload[..wanted as usize];
            at += header.header_len;
            self.begin(&header, seen, &mut on)?;
            self.skip = header.len;
        }
        self.keep(&data[at..]);
        Ok(())
    }

    fn begin(
        &mut self,
        header: &Header,
        seen: &[u8],
        on: &mut impl FnMut(Came<'_>),
    ) -> Result<(), &'static str> {
        match header.opcode {
            8 => on(Came::Close(seen.first_chunk::<2>().map(|code| u16::from_be_bytes(*code)))),
            9 => on(Came::Ping(seen)),
            10 => {}
            1 | 2 if self.message.is_none() => {
                on(Came::Begin(seen));
                self.message = Some(header.len);
                self.last = header.fin;
            }
            0 if let Some(so_far) = &mut self.message => {
                *so_far += header.len;
                self.last = header.fin;
            }
            _ => return Err("a frame that nothing allows here"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wse_core::websocket::frame::write_frame;
    use wse_core::websocket::{Flow, Incoming, Inflation, Receiver};

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Begin(Vec<u8>),
        Whole(u64),
        Ping(Vec<u8>),
        Close(Option<u16>),
    }

    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Seen>, &'static str> {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            let data = [reader.kept(), &bytes[from..to]].concat();
            reader.take(&data, |came| {
                seen.push(match came {
                    Came::Begin(bytes) => Seen::Begin(bytes.to_vec()),
                    Came::Whole(len) => Seen::Whole(len),
                    Came::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                    Came::Close(code) => Seen::Close(code),
                });
            })?;
            from = to;
        }
        Ok(seen)
    }

    #[test]
    fn a_long_message_counts_when_it_is_whole() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, Opcode::Text, &[b'x'; 70_000]);
        let cut = bytes.len() - 1;
        assert_eq!(read(&bytes[..cut], &[]).unwrap(), [Seen::Begin(vec![b'x'; LOOK_AT])]);
        assert_eq!(read(&bytes, &[cut]).unwrap(), [Seen::Begin(vec![b'x'; LOOK_AT]), Seen::Whole(70_000)]);
    }

    #[test]
    fn fragments_are_one_message_and_a_ping_may_come_between() {
        let bytes =
            [&[0x01, 2][..], b"ab", &[0x89, 1, b'p'], &[0x80, 1, b'c'], &[0x88, 2, 0x10, 0x04]].concat();
        let wanted =
            [Seen::Begin(b"ab".to_vec()), Seen::Ping(b"p".to_vec()), Seen::Whole(3), Seen::Close(Some(4100))];
        assert_eq!(read(&bytes, &[]).unwrap(), wanted);
    }

    #[test]
    fn what_no_server_may_send_is_noticed() {
        for bytes in [
            &[0xc1, 0][..],
            &[0x81, 0x80, 0, 0, 0, 0],
            &[0x80, 0],
            &[0x83, 0],
            &[0x09, 0],
            &[0x01, 0, 0x81, 0],
        ] {
            assert!(read(bytes, &[]).is_err(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(lens in prop::collection::vec(0_usize..2000, 1..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut bytes = Vec::new();
            for len in lens {
                write_frame(&mut bytes, Opcode::Binary, &vec![7; len]);
                write_frame(&mut bytes, Opcode::Ping, b"x");
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
        }

        #[test]
        fn the_server_reads_what_was_meant(payload in "[a-z]{0,300}") {
            let mut bytes = Vec::new();
            write(&mut bytes, Opcode::Text, payload.as_bytes());
            let mut got = Vec::new();
            Receiver::default().receive(&mut bytes, 1 << 20, Inflation::Refused, |incoming| {
                if let Incoming::Text(text) = incoming { got.push(text.to_owned()); }
                Flow::Continue
            }).unwrap();
            prop_assert_eq!(got, [payload]);
        }
    }
}
