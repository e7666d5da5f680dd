//! Compressed twins of messages: made once by whoever publishes, for each window that a receiver has agreed on.
//!
//! A publisher's thread does it, not a shard: a megabyte takes milliseconds, and a shard has others to serve.

use parking_lot::Mutex;
use wse_core::websocket::deflate::{Agreement, Deflater, WORTHWHILE_BYTES, Window};

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
#[derive(Debug)]
pub(crate) struct Squeezed {
    bytes: Vec<u8>,
    twins: Twins,
}

impl Squeezed {
    /// The frame for a window.
    pub(crate) fn frame(&self, window: Window) -> Option<&[u8]> {
        self.twins.get(window).map(|(start, end)| &self.bytes[start as usize..end as usize])
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

    /// Adds the twins of a message; where they lie now.
    pub(crate) fn add(&mut self, squeezed: &Squeezed) -> Twins {
        let lanes = self.0.get_or_insert_default();
        let mut twins = Twins::default();
        for (index, lane) in lanes.iter_mut().enumerate() {
            let window = Window::at(index);
            if let Some(frame) = squeezed.frame(window) {
                let start = lane.len() as u32;
                lane.extend_from_slice(frame);
                twins.set(window, (start, lane.len() as u32));
            }
        }
        twins
    }

    /// Adds the twins of a message right behind those that were added last, for the same windows.
    pub(crate) fn append(&mut self, to: &mut Twins, squeezed: &Squeezed) {
        let added = self.add(squeezed);
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
            let mut pool = self.0[index].lock();
            if pool.len() < POOLED {
                pool.push(deflater);
            }
        }
        Squeezed { bytes, twins }
    }
}

/// The windows for which a message is worth being compressed.
#[inline]
pub(crate) fn worthwhile(message: &Message<'_>, windows: impl FnOnce() -> u8) -> u8 {
    if message.len() < WORTHWHILE_BYTES { 0 } else { windows() }
}
