//! Twins of messages: the same message packed, compressed or both, made once by whoever publishes for each form that a receiver wants.
//!
//! A publisher's thread does it, not a shard: a megabyte takes milliseconds, and a shard has others to serve.

use parking_lot::Mutex;
use wse_core::encoding::msgpack::{pack, pack_head, pack_rest};
use wse_core::encoding::zlib::Squeezer;
use wse_core::encoding::{Format, MSGPACK};
use wse_core::protocol::stamp::Stampable;
use wse_core::websocket::Opcode;
use wse_core::websocket::deflate::{Agreement, Deflater, StoredBlock, WORTHWHILE_BYTES, Window};
use wse_core::websocket::frame::{MAX_SERVER_HEADER, ServerHeader, write_frame};

use crate::inbox::Message;

/// A form in which a message is made once for all who want it so: a format, and the window of its compression. JSON that is not
/// compressed is no lane but the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(u8);

impl Lane {
    /// How many there are: JSON compressed for each window, msgpack as it is, and msgpack compressed for each window.
    pub(crate) const COUNT: usize = 2 * Window::COUNT + 1;

    const PACKED: u8 = Window::COUNT as u8;

    /// The lane of a form; none for JSON as it is.
    fn of(format: Format, window: Option<Window>) -> Option<Self> {
        match (format, window) {
            (Format::Json, None) => None,
            (Format::Json, Some(window)) => Some(Self(window.index() as u8)),
            (Format::Msgpack, None) => Some(Self(Self::PACKED)),
            (Format::Msgpack, Some(window)) => Some(Self(Self::PACKED + 1 + window.index() as u8)),
        }
    }

    pub(crate) fn at(index: usize) -> Self {
        Self(index as u8)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn bit(self) -> u16 {
        1 << self.0
    }

    pub(crate) fn format(self) -> Format {
        if self.0 < Self::PACKED { Format::Json } else { Format::Msgpack }
    }

    pub(crate) fn window(self) -> Option<Window> {
        match self.0 {
            Self::PACKED => None,
            index if index < Self::PACKED => Some(Window::at(usize::from(index))),
            index => Some(Window::at(usize::from(index - Self::PACKED - 1))),
        }
    }
}

/// The lanes with msgpack.
const PACKED_LANES: u16 = (u16::MAX << Window::COUNT) & ((1 << Lane::COUNT) - 1);
/// The lanes with compression.
const SQUEEZED_LANES: u16 = ((1 << Lane::COUNT) - 1) & !(1 << Lane::PACKED);

/// Messages up to this many bytes are packed while the GIL is kept: to let go of it costs more.
const PACKED_AT_ONCE: usize = 4096;

/// How one client wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    /// As they are.
    #[default]
    Plain,
    /// Packed or compressed, each by itself: what one gets serves all in the same lane.
    Shared(Lane),
    /// Made for it alone by its shard: compressed with a context of its own, or sealed.
    Own,
}

impl Wire {
    /// What was agreed on in the handshake.
    pub(crate) fn of(agreed: Option<Agreement>, format: Format) -> Self {
        if agreed.is_some_and(|agreed| agreed.server_takeover) {
            debug_assert_eq!(format, Format::Json, "msgpack is never compressed with a context");
            return Self::Own;
        }
        Lane::of(format, agreed.map(|agreed| agreed.window)).map_or(Self::Plain, Self::Shared)
    }

    /// The bit of its lane; none for a client whose messages are not made by publishers.
    pub(crate) fn lanes(self) -> u16 {
        match self {
            Self::Shared(lane) => lane.bit(),
            Self::Plain | Self::Own => 0,
        }
    }

    /// What it was agreed to be in: msgpack or JSON.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Shared(lane) => lane.format(),
            Self::Plain | Self::Own => Format::Json,
        }
    }

    /// Whether messages may be compressed.
    pub(crate) fn is_compressed(self) -> bool {
        match self {
            Self::Shared(lane) => lane.window().is_some(),
            Self::Plain => false,
            Self::Own => true,
        }
    }
}

/// Where the twins of some messages lie, by lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twins {
    /// A bit for each lane that is there.
    lanes: u16,
    ranges: [(u32, u32); Lane::COUNT],
}

impl Twins {
    pub(crate) fn lanes(&self) -> u16 {
        self.lanes
    }

    /// The twin in a lane.
    pub(crate) fn get(&self, lane: Lane) -> Option<(u32, u32)> {
        (self.lanes & lane.bit() != 0).then(|| self.ranges[lane.index()])
    }

    fn set(&mut self, lane: Lane, range: (u32, u32)) {
        self.lanes |= lane.bit();
        self.ranges[lane.index()] = range;
    }
}

/// The lanes that have a bit, in order.
fn each(lanes: u16) -> impl Iterator<Item = Lane> {
    (0..Lane::COUNT).filter(move |index| lanes & 1 << index != 0).map(Lane::at)
}

/// One message as frames of several forms.
///
/// One that is still to be stamped is made without its head, before its topic is locked: packed, its head goes in front, and where it is
/// compressed, as a block that deflate stores as it is (RFC 1951, section 3.2.4). Nothing behind it refers back to it.
#[derive(Debug)]
pub(crate) struct Squeezed {
    bytes: Vec<u8>,
    twins: Twins,
    /// Whether the head is still to come, and then for which lanes what follows it is packed and for which compressed.
    awaits_head: bool,
    packed: u16,
    squeezed: u16,
    /// How many members of the message are packed already.
    members: u32,
}

impl Squeezed {
    /// Appends the frame of a lane; `head` is what a stamped message begins with.
    fn write(&self, out: &mut Vec<u8>, lane: Lane, head: &[u8]) {
        let (start, end) = self.twins.get(lane).expect("it is asked for the lanes that it has");
        let bytes = &self.bytes[start as usize..end as usize];
        if !self.awaits_head {
            return out.extend_from_slice(bytes);
        }
        let packed_head;
        let (opcode, head) = if self.packed & lane.bit() == 0 {
            (Opcode::Text, head)
        } else {
            packed_head = packed_beginning(head, self.members);
            (Opcode::Binary, &packed_head[..])
        };
        if self.squeezed & lane.bit() == 0 {
            return write_parts(out, opcode, head.len() + bytes.len(), &[head, bytes]);
        }
        let stored = StoredBlock::new(head);
        out.extend_from_slice(ServerHeader::compressed(opcode, stored.len() + bytes.len()).as_bytes());
        stored.write(out);
        out.extend_from_slice(bytes);
    }

    /// The frame of a message that was made for one lane only.
    pub(crate) fn only(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn lanes(&self) -> u16 {
        self.twins.lanes
    }
}

/// What a packed message begins with: so many members follow the head.
fn packed_beginning(head: &[u8], members: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(MSGPACK.len() + 5 + head.len());
    out.extend_from_slice(MSGPACK);
    let head = std::str::from_utf8(head).expect("a stamp is text");
    pack_head(head, members, &mut out).expect("a stamp is the beginning of an object");
    out
}

/// Twins of all that waits in an inbox, in one piece of memory for each lane.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Option<Box<[Vec<u8>; Lane::COUNT]>>);

impl Lanes {
    /// Bytes in the longest lane.
    pub(crate) fn longest(&self) -> usize {
        self.0.as_ref().and_then(|lanes| lanes.iter().map(Vec::len).max()).unwrap_or(0)
    }

    /// Adds the twins of a message; where they lie now. `head` is what a stamped message begins with.
    pub(crate) fn add(&mut self, squeezed: &Squeezed, head: &[u8]) -> Twins {
        let mut twins = Twins::default();
        self.each_added(squeezed, head, |lane, range| twins.set(lane, range));
        twins
    }

    /// Adds the twins of a message right behind those that were added last, for the same lanes.
    pub(crate) fn append(&mut self, to: &mut Twins, squeezed: &Squeezed, head: &[u8]) {
        self.each_added(squeezed, head, |lane, (start, end)| {
            let range = &mut to.ranges[lane.index()];
            debug_assert_eq!(range.1, start, "nothing came between");
            range.1 = end;
        });
    }

    fn each_added(&mut self, squeezed: &Squeezed, head: &[u8], mut note: impl FnMut(Lane, (u32, u32))) {
        let lanes = self.0.get_or_insert_default();
        for lane in each(squeezed.twins.lanes) {
            let bytes = &mut lanes[lane.index()];
            let start = bytes.len() as u32;
            squeezed.write(bytes, lane, head);
            note(lane, (start, bytes.len() as u32));
        }
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self) -> Option<Box<[Vec<u8>; Lane::COUNT]>> {
        self.0.take()
    }
}

/// Compressors that wait for the next message.
#[derive(Debug, Default)]
pub(crate) struct Deflaters([Mutex<Vec<Deflater>>; Window::COUNT]);

/// Compressors kept for each window; each holds a third of a megabyte.
const POOLED: usize = 4;

impl Deflaters {
    /// Makes the frames of a message for each of these lanes.
    pub(crate) fn squeeze(&self, message: &Message<'_>, lanes: u16) -> Squeezed {
        let packed = if lanes & PACKED_LANES == 0 { None } else { packed(message) };
        let (mut bytes, mut twins) = (Vec::new(), Twins::default());
        for lane in each(lanes) {
            let start = bytes.len() as u32;
            match (&packed, lane.format()) {
                (Some(packed), Format::Msgpack) => {
                    self.write(&mut bytes, lane.window(), Opcode::Binary, &[packed]);
                }
                _ => self.write(&mut bytes, lane.window(), message.opcode, &[message.head, message.tail]),
            }
            twins.set(lane, (start, bytes.len() as u32));
        }
        Squeezed { bytes, twins, awaits_head: false, packed: 0, squeezed: 0, members: 0 }
    }

    /// Makes what follows the head of a message that is still to be stamped, for each of these lanes.
    pub(crate) fn squeeze_tail(&self, message: &Stampable<'_>, lanes: u16) -> Squeezed {
        let tail = message.rest();
        let mut rest = Vec::new();
        let members = if lanes & PACKED_LANES != 0 && message.is_object() {
            pack_rest(tail, &mut rest).ok()
        } else {
            None
        };
        let mut made = Squeezed {
            bytes: Vec::new(),
            twins: Twins::default(),
            awaits_head: true,
            packed: if members.is_some() { lanes & PACKED_LANES } else { 0 },
            squeezed: 0,
            members: members.unwrap_or(0),
        };
        for lane in each(lanes) {
            let tail = if made.packed & lane.bit() == 0 { tail.as_bytes() } else { &rest };
            let start = made.bytes.len() as u32;
            if self.append_deflated(&mut made.bytes, lane.window(), tail) {
                made.squeezed |= lane.bit();
            } else if lane.format() == Format::Json {
                // Where nothing is gained the plain message serves.
                continue;
            } else {
                made.bytes.extend_from_slice(tail);
            }
            made.twins.set(lane, (start, made.bytes.len() as u32));
        }
        made
    }

    /// Appends what is compressed, if that is shorter.
    fn append_deflated(&self, out: &mut Vec<u8>, window: Option<Window>, tail: &[u8]) -> bool {
        let Some(window) = window.filter(|_| tail.len() >= WORTHWHILE_BYTES) else { return false };
        self.with(window, |deflater| {
            let squeezed = deflater.deflate(&[tail]);
            let is_shorter = squeezed.len() < tail.len();
            if is_shorter {
                out.extend_from_slice(squeezed);
            }
            is_shorter
        })
    }

    fn write(&self, out: &mut Vec<u8>, window: Option<Window>, opcode: Opcode, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let Some(window) = window.filter(|_| len >= WORTHWHILE_BYTES) else {
            return write_parts(out, opcode, len, parts);
        };
        self.with(window, |deflater| deflater.write_frame(out, opcode, parts));
    }

    fn with<T>(&self, window: Window, run: impl FnOnce(&mut Deflater) -> T) -> T {
        let pool = &self.0[window.index()];
        let pooled = pool.lock().pop();
        let mut deflater = pooled.unwrap_or_else(|| Deflater::new(window, false));
        let out = run(&mut deflater);
        let mut pool = pool.lock();
        if pool.len() < POOLED {
            pool.push(deflater);
        }
        out
    }
}

/// Makers of zlib streams that wait for the next event.
#[derive(Debug, Default)]
pub(crate) struct Squeezers(Mutex<Vec<Squeezer>>);

impl Squeezers {
    /// A message as the payload of a zlib stream.
    pub(crate) fn squeeze(&self, message: &[u8]) -> Vec<u8> {
        let pooled = self.0.lock().pop();
        let mut squeezer = pooled.unwrap_or_default();
        let mut out = Vec::new();
        squeezer.squeeze(message, &mut out);
        let mut pool = self.0.lock();
        if pool.len() < POOLED {
            pool.push(squeezer);
        }
        out
    }
}

fn write_parts(out: &mut Vec<u8>, opcode: Opcode, len: usize, parts: &[&[u8]]) {
    out.reserve(MAX_SERVER_HEADER + len);
    out.extend_from_slice(ServerHeader::new(opcode, len).as_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// The msgpack of a JSON object, with what says so before it; none for what has no msgpack and is sent as it is.
fn packed(message: &Message<'_>) -> Option<Vec<u8>> {
    if message.opcode != Opcode::Text {
        return None;
    }
    let joined;
    let text = if message.head.is_empty() {
        message.tail
    } else {
        joined = [message.head, message.tail].concat();
        &joined
    };
    let mut out = Vec::with_capacity(text.len() + MSGPACK.len());
    out.extend_from_slice(MSGPACK);
    // Every text was checked where it came in.
    pack(std::str::from_utf8(text).ok()?, &mut out).ok()?;
    Some(out)
}

/// Appends a text as a frame for a client that gets nothing else with it.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8], format: Format) {
    let message = Message { opcode: Opcode::Text, head: &[], tail: text };
    match format {
        Format::Json => write_frame(out, Opcode::Text, text),
        Format::Msgpack => match packed(&message) {
            Some(packed) => write_frame(out, Opcode::Binary, &packed),
            None => write_frame(out, Opcode::Text, text),
        },
    }
}

/// The lanes for which a message of so many bytes is made: all for which it is worth being compressed, and those in which it is packed.
#[inline]
pub(crate) fn worthwhile(len: usize, lanes: u16) -> u16 {
    if len < WORTHWHILE_BYTES { lanes & PACKED_LANES } else { lanes }
}

/// Those of these lanes that a shard may make without keeping its other clients waiting, however long the message is.
pub(crate) fn without_compression(lanes: u16) -> u16 {
    lanes & !SQUEEZED_LANES
}

/// How many of these lanes are compressed.
pub(crate) fn compressions(len: usize, lanes: u16) -> u32 {
    if len < WORTHWHILE_BYTES { 0 } else { (lanes & SQUEEZED_LANES).count_ones() }
}

/// Whether a message of so many bytes is made for these lanes in less time than it takes to let go of the GIL.
#[inline]
pub(crate) fn is_made_at_once(len: usize, lanes: u16) -> bool {
    lanes == 0 || (len <= PACKED_AT_ONCE && compressions(len, lanes) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use wse_core::encoding::Binary;
    use wse_core::encoding::msgpack::unpack;
    use wse_core::history::{Epoch, Position};
    use wse_core::protocol::stamp::StampPrefix;
    use wse_core::websocket::deflate::Inflater;
    use wse_core::websocket::frame::ServerFrames;

    const ALL: u16 = (1 << Lane::COUNT) - 1;

    /// What a client of a lane reads in frames: JSON, or the text of what is none; and whether it came packed.
    fn read(frames: &[u8], lane: Lane) -> Vec<(String, bool)> {
        let mut inflater = Inflater::new(false);
        ServerFrames::of(frames)
            .map(|frame| {
                assert!(!frame.compressed || lane.window().is_some(), "nobody agreed on that");
                let payload = if frame.compressed {
                    inflater.inflate(frame.payload, 1 << 20).unwrap().to_vec()
                } else {
                    frame.payload.to_vec()
                };
                match (frame.opcode, Binary::of(&payload)) {
                    (Opcode::Binary, Binary::Msgpack(packed)) => (unpack(packed, 1 << 20).unwrap(), true),
                    (Opcode::Text, _) => (String::from_utf8(payload).unwrap(), false),
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    }

    fn same(read: &str, sent: &str) -> bool {
        match (serde_json::from_str::<Value>(read), serde_json::from_str::<Value>(sent)) {
            (Ok(read), Ok(sent)) => read == sent,
            _ => read == sent,
        }
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        let object = prop::collection::btree_map("[f-n]{0,3}", "\\PC{0,40}|[a-c]{0,600}", 0..6)
            .prop_map(|map| serde_json::to_string(&map).unwrap());
        let other =
            prop_oneof![Just("hello".to_owned()), Just("[1]".to_owned()), Just("\"a\":1}".to_owned())];
        prop::collection::vec(prop_oneof![4 => object, 1 => other], 1..6)
    }

    /// What comes in front of a message's tail, made under the lock of its topic.
    fn head_of(message: &Stampable<'_>, offset: u64) -> Vec<u8> {
        let position = Position { epoch: Epoch::new(7), offset };
        let mut head = Vec::new();
        message.write_head(&mut head, &StampPrefix::new("a \"topic\"", position), offset);
        head
    }

    proptest! {
        #[test]
        fn every_lane_says_the_same(texts in texts(), stamped: bool) {
            let deflaters = Deflaters::default();
            let (mut lanes, mut places, mut sent) = (Lanes::default(), vec![Vec::new(); Lane::COUNT], Vec::new());
            for (at, text) in texts.iter().enumerate() {
                let (squeezed, head) = if stamped {
                    let message = Stampable::new(text).unwrap();
                    (deflaters.squeeze_tail(&message, ALL), head_of(&message, at as u64 + 1))
                } else {
                    let message = Message { opcode: Opcode::Text, head: b"", tail: text.as_bytes() };
                    (deflaters.squeeze(&message, ALL), Vec::new())
                };
                let rest = if stamped { Stampable::new(text).unwrap().rest() } else { text };
                sent.push(format!("{}{rest}", String::from_utf8(head.clone()).unwrap()));
                let twins = lanes.add(&squeezed, &head);
                for lane in each(ALL) {
                    // Stamped JSON that gains nothing has no twin; everything packed has one.
                    prop_assert!(twins.get(lane).is_some() || (stamped && lane.format() == Format::Json));
                    places[lane.index()].push(twins.get(lane));
                }
            }
            let bytes = lanes.take().unwrap();
            for lane in each(ALL) {
                for (place, sent) in places[lane.index()].iter().zip(&sent) {
                    let Some((start, end)) = place else { continue };
                    let read = read(&bytes[lane.index()][*start as usize..*end as usize], lane);
                    prop_assert_eq!(read.len(), 1);
                    let (text, packed) = &read[0];
                    prop_assert!(same(text, sent), "{} instead of {}", text, sent);
                    let is_object = matches!(serde_json::from_str::<Value>(sent), Ok(Value::Object(_)));
                    prop_assert_eq!(*packed, is_object && lane.format() == Format::Msgpack);
                }
            }
        }
    }

    #[test]
    fn only_lanes_that_are_worth_it_are_made() {
        let packed = Lane(Lane::PACKED).bit();
        assert_eq!(worthwhile(WORTHWHILE_BYTES - 1, ALL), PACKED_LANES);
        assert_eq!(worthwhile(WORTHWHILE_BYTES, ALL), ALL);
        assert!(is_made_at_once(1 << 20, 0) && is_made_at_once(1000, packed));
        assert!(!is_made_at_once(1 << 20, packed) && !is_made_at_once(1000, ALL));
        assert_eq!(compressions(1000, ALL) as usize, 2 * Window::COUNT);
        assert_eq!(compressions(10, ALL), 0);
        assert_eq!(PACKED_LANES | SQUEEZED_LANES, ALL);
    }
}
