//! Compressed twins of messages: made once by whoever publishes, for each window that a receiver has agreed on.
//!
//! A publisher's thread does it, not a shard: a megabyte takes milliseconds, and a shard has others to serve.

use parking_lot::Mutex;
use wse_core::websocket::Opcode;
use wse_core::websocket::deflate::{Agreement, Deflater, StoredBlock, WORTHWHILE_BYTES, Window};
use wse_core::websocket::frame::ServerHeader;

use crate::inbox::Message;

/// How one client wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    /// As they are.
    #[default]
    Plain,
    /// Compressed, each by itself: what one gets serves all with the same window.
    Shared(Window),
    /// Compressed with a context of its own, by its shard.
    Own,
}

impl Wire {
    /// What was agreed on in the handshake.
    pub(crate) fn of(agreed: Option<Agreement>) -> Self {
        match agreed {
            None => Self::Plain,
            Some(agreed) if agreed.server_takeover => Self::Own,
            Some(agreed) => Self::Shared(agreed.window),
        }
    }

    /// The bit of its window; none for a client whose messages are not compressed by publishers.
    pub(crate) fn windows(self) -> u8 {
        match self {
            Self::Shared(window) => 1 << window.index(),
            Self::Plain | Self::Own => 0,
        }
    }
}

/// Where the compressed twins of some messages lie, by window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twins {
    /// A bit for each window that is there.
    windows: u8,
    ranges: [(u32, u32); Window::COUNT],
}

impl Twins {
    pub(crate) fn windows(&self) -> u8 {
        self.windows
    }

    /// The twin for a window.
    pub(crate) fn get(&self, window: Window) -> Option<(u32, u32)> {
        (self.windows & 1 << window.index() != 0).then(|| self.ranges[window.index()])
    }

    fn set(&mut self, window: Window, range: (u32, u32)) {
        self.windows |= 1 << window.index();
        self.ranges[window.index()] = range;
    }
}

/// One message as compressed frames.
///
/// One that is still to be stamped is compressed without its head, before its topic is locked: the head goes in front as a block that
/// deflate stores as it is (RFC 1951, section 3.2.4), and nothing behind it refers back to it.
#[derive(Debug)]
pub(crate) struct Squeezed {
    bytes: Vec<u8>,
    twins: Twins,
    awaits_head: bool,
}

impl Squeezed {
    /// Appends the frame for a window; `head` is what a stamped message begins with.
    fn write(&self, out: &mut Vec<u8>, window: Window, head: &[u8]) -> bool {
        let Some((start, end)) = self.twins.get(window) else { return false };
        let bytes = &self.bytes[start as usize..end as usize];
        if !self.awaits_head {
            out.extend_from_slice(bytes);
        } else {
            let stored = StoredBlock::new(head);
            out.extend_from_slice(
                ServerHeader::compressed(Opcode::Text, stored.len() + bytes.len()).as_bytes(),
            );
            stored.write(out);
            out.extend_from_slice(bytes);
        }
        true
    }

    /// The frame of a message that was made for one window only.
    pub(crate) fn only(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn windows(&self) -> u8 {
        self.twins.windows
    }
}

/// Twins of all that waits in an inbox, in one piece of memory for each window.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Option<Box<[Vec<u8>; Window::COUNT]>>);

impl Lanes {
    /// Bytes in all lanes.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |lanes| lanes.iter().map(Vec::len).sum())
    }

    /// Adds the twins of a message; where they lie now. `head` is what a stamped message begins with.
    pub(crate) fn add(&mut self, squeezed: &Squeezed, head: &[u8]) -> Twins {
        let lanes = self.0.get_or_insert_default();
        let mut twins = Twins::default();
        for (index, lane) in lanes.iter_mut().enumerate() {
            let window = Window::at(index);
            let start = lane.len() as u32;
            if squeezed.write(lane, window, head) {
                twins.set(window, (start, lane.len() as u32));
            }
        }
        twins
    }

    /// Adds the twins of a message right behind those that were added last, for the same windows.
    pub(crate) fn append(&mut self, to: &mut Twins, squeezed: &Squeezed, head: &[u8]) {
        let added = self.add(squeezed, head);
        for index in 0..Window::COUNT {
            debug_assert_eq!(to.ranges[index].1, added.ranges[index].0, "nothing came between");
            to.ranges[index].1 = added.ranges[index].1;
        }
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self) -> [Vec<u8>; Window::COUNT] {
        self.0.take().map_or_else(Default::default, |lanes| *lanes)
    }
}

/// Compressors that wait for the next message.
#[derive(Debug, Default)]
pub(crate) struct Deflaters([Mutex<Vec<Deflater>>; Window::COUNT]);

/// Compressors kept for each window; each holds a third of a megabyte.
const POOLED: usize = 4;

impl Deflaters {
    /// Compresses a message for each of these windows.
    pub(crate) fn squeeze(&self, message: &Message<'_>, windows: u8) -> Squeezed {
        let (mut bytes, mut twins) = (Vec::new(), Twins::default());
        for index in (0..Window::COUNT).filter(|index| windows & 1 << index != 0) {
            let window = Window::at(index);
            let pooled = self.0[index].lock().pop();
            let mut deflater = pooled.unwrap_or_else(|| Deflater::new(window, false));
            let start = bytes.len() as u32;
            deflater.write_frame(&mut bytes, message.opcode, &[message.head, message.tail]);
            twins.set(window, (start, bytes.len() as u32));
            self.give_back(index, deflater);
        }
        Squeezed { bytes, twins, awaits_head: false }
    }

    /// Compresses what follows the head of a message that is still to be stamped, for each of these windows.
    pub(crate) fn squeeze_tail(&self, tail: &[u8], windows: u8) -> Squeezed {
        let (mut bytes, mut twins) = (Vec::new(), Twins::default());
        for index in (0..Window::COUNT).filter(|index| windows & 1 << index != 0) {
            let window = Window::at(index);
            let pooled = self.0[index].lock().pop();
            let mut deflater = pooled.unwrap_or_else(|| Deflater::new(window, false));
            let squeezed = deflater.deflate(&[tail]);
            // Where nothing is gained the plain message serves.
            if squeezed.len() < tail.len() {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(squeezed);
                twins.set(window, (start, bytes.len() as u32));
            }
            self.give_back(index, deflater);
        }
        Squeezed { bytes, twins, awaits_head: true }
    }

    fn give_back(&self, index: usize, deflater: Deflater) {
        let mut pool = self.0[index].lock();
        if pool.len() < POOLED {
            pool.push(deflater);
        }
    }
}

/// The windows for which a message of so many bytes is worth being compressed.
#[inline]
pub(crate) fn worthwhile(len: usize, windows: impl FnOnce() -> u8) -> u8 {
    if len < WORTHWHILE_BYTES { 0 } else { windows() }
}
