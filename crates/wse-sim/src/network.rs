//! Streams between processes: in order, late, held while nothing passes, ended at one side or both. For worlds with the machine of members.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::log::Payload;
use wse_mesh::wire::{Address, Kind};

/// One end of a stream: that of the dialler is 0.
pub type Place = (u64, usize);

/// What comes to an end of a stream.
#[derive(Debug)]
pub enum Parcel {
    /// A frame about members.
    Members(Kind, Vec<u8>),
    /// A frame about topics with history.
    Log(Kind, Arc<str>, Payload),
    /// The other side has closed it, or it was reset.
    Closed,
}

/// See [`Place`].
#[derive(Debug)]
pub struct End {
    /// Where the process runs.
    pub host: usize,
    /// Which process it is.
    pub id: NodeId,
    /// How it calls the stream, once it has heard of it.
    pub session: Option<Session>,
    /// It has not closed it.
    pub is_open: bool,
    /// On its way to this end.
    queue: VecDeque<Parcel>,
    /// Of these, what would be here if it passed.
    held: usize,
    /// When the last of them comes.
    comes_ms: u64,
}

/// All streams.
#[derive(Debug, Default)]
pub struct Network {
    wires: BTreeMap<u64, [End; 2]>,
    last: u64,
}

impl Network {
    /// A stream from one process to another. Neither has heard of it.
    pub fn connect(&mut self, dialler: (usize, NodeId), acceptor: (usize, NodeId)) -> u64 {
        let end = |(host, id)| End {
            host,
            id,
            session: None,
            is_open: true,
            queue: VecDeque::new(),
            held: 0,
            comes_ms: 0,
        };
        self.last += 1;
        self.wires.insert(self.last, [end(dialler), end(acceptor)]);
        self.last
    }

    /// An end, while one of the two is open.
    #[must_use]
    pub fn end(&self, (wire, side): Place) -> Option<&End> {
        self.wires.get(&wire).map(|ends| &ends[side])
    }

    /// The other end.
    #[must_use]
    pub fn far(&self, (wire, side): Place) -> Option<&End> {
        self.end((wire, 1 - side))
    }

    /// The process has heard of the stream. Tells how many parcels have waited for that.
    pub fn named(&mut self, (wire, side): Place, session: Session) -> usize {
        let Some(ends) = self.wires.get_mut(&wire) else { return 0 };
        ends[side].session = Some(session);
        std::mem::take(&mut ends[side].held)
    }

    /// Something goes to an end, not before `at_ms` and after all that is on its way there. Tells when it comes.
    pub fn put(&mut self, (wire, side): Place, at_ms: u64, parcel: Parcel) -> Option<u64> {
        let end = &mut self.wires.get_mut(&wire)?[side];
        end.queue.push_back(parcel);
        end.comes_ms = end.comes_ms.max(at_ms);
        Some(end.comes_ms)
    }

    /// The next parcel for an end is here.
    pub fn take(&mut self, (wire, side): Place) -> Option<Parcel> {
        self.wires.get_mut(&wire)?[side].queue.pop_front()
    }

    /// It can't come now.
    pub fn hold(&mut self, (wire, side): Place) {
        if let Some(ends) = self.wires.get_mut(&wire) {
            ends[side].held += 1;
        }
    }

    /// What was held on its way from one host to another comes now, all at `at_ms` and in order.
    pub fn release(&mut self, from: usize, to: usize, at_ms: u64) -> Vec<(Place, usize)> {
        let mut released = Vec::new();
        for (wire, ends) in &mut self.wires {
            for side in 0..2 {
                if ends[1 - side].host == from && ends[side].host == to && ends[side].session.is_some() {
                    let held = std::mem::take(&mut ends[side].held);
                    ends[side].comes_ms = ends[side].comes_ms.max(at_ms);
                    if held > 0 {
                        released.push(((*wire, side), held));
                    }
                }
            }
        }
        released
    }

    /// What is on its way to an end is lost.
    pub fn lose(&mut self, (wire, side): Place) {
        if let Some(ends) = self.wires.get_mut(&wire) {
            ends[side].queue.clear();
        }
    }

    /// A process has closed its end. Both closed: nobody asks for the stream again.
    pub fn close(&mut self, (wire, side): Place) {
        let Some(ends) = self.wires.get_mut(&wire) else { return };
        ends[side].is_open = false;
        if !ends[1 - side].is_open {
            self.wires.remove(&wire);
        }
    }

    /// The ends that a process holds open.
    #[must_use]
    pub fn of(&self, id: NodeId) -> Vec<Place> {
        let places =
            self.wires.iter().flat_map(|(wire, ends)| [((*wire, 0), &ends[0]), ((*wire, 1), &ends[1])]);
        places.filter(|(_, end)| end.id == id && end.is_open).map(|(place, _)| place).collect()
    }

    /// The streams between two hosts.
    #[must_use]
    pub fn between(&self, a: usize, b: usize) -> Vec<u64> {
        let joins = |ends: &[End; 2]| {
            let hosts = (ends[0].host, ends[1].host);
            hosts == (a, b) || hosts == (b, a)
        };
        self.wires.iter().filter(|(_, ends)| joins(ends)).map(|(wire, _)| *wire).collect()
    }
}

/// Where nodes listen.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The last byte of each place's address.
    addresses: Vec<usize>,
}

/// The port of every node.
pub const PORT: u16 = 9999;

impl Hosts {
    /// One for each place.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { addresses: (1..=count).collect() }
    }

    /// How operators call a place, wherever it is.
    ///
    /// # Panics
    /// Never: it is a name.
    #[must_use]
    pub fn name(place: usize) -> Address {
        Address::parse(&format!("n{place}:{PORT}")).expect("a name and a port")
    }

    /// The address of a place now.
    #[must_use]
    pub fn ip(&self, place: usize) -> std::net::IpAddr {
        [10, 0, 0, u8::try_from(self.addresses[place]).expect("few places")].into()
    }

    /// Addresses that no place has.
    #[must_use]
    pub fn free(&self) -> Vec<usize> {
        (1..=self.addresses.len() + 2).filter(|address| !self.addresses.contains(address)).collect()
    }

    /// A place gets another address.
    pub fn move_to(&mut self, place: usize, address: usize) {
        self.addresses[place] = address;
    }

    /// The place that a name or an address leads to.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Option<usize> {
        let (host, _) = address.as_str().rsplit_once(':')?;
        let places = 0..self.addresses.len();
        match host.strip_prefix('n') {
            Some(place) => place.parse().ok(),
            None => places.into_iter().find(|place| self.ip(*place).to_string() == host),
        }
    }
}

/// The monotonic clock of a process: it begins somewhere, goes a little fast or slow, and may jump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// When it began, by the world's clock.
    since_ms: u64,
    /// What it showed then.
    shown_ms: u64,
    /// So many millionths too fast.
    fast_ppm: i64,
}

impl Clock {
    /// One that begins now.
    #[must_use]
    pub fn new(since_ms: u64, shown_ms: u64, fast_ppm: i64) -> Self {
        Self { since_ms, shown_ms, fast_ppm }
    }

    /// What it shows.
    #[must_use]
    pub fn shows(&self, now_ms: u64) -> u64 {
        let passed = i128::from(now_ms - self.since_ms);
        let shown = passed * i128::from(1_000_000 + self.fast_ppm) / 1_000_000;
        self.shown_ms + u64::try_from(shown).expect("it goes forward")
    }

    /// When it shows so much.
    #[must_use]
    pub fn when(&self, shown_ms: u64) -> u64 {
        let wait = i128::from(shown_ms.saturating_sub(self.shown_ms));
        let wait = wait * 1_000_000 / i128::from(1_000_000 + self.fast_ppm);
        let mut at = self.since_ms + u64::try_from(wait).expect("it is later");
        while self.shows(at) < shown_ms {
            at += 1;
        }
        at
    }

    /// It jumps forward.
    pub fn jump(&mut self, by_ms: u64) {
        self.shown_ms += by_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_what_it_was_asked_for_at_the_time_it_told_and_not_before() {
        for fast_ppm in [-20_000, -1, 0, 7, 20_000] {
            let mut clock = Clock::new(500, 1_000_000, fast_ppm);
            for wanted in [1_000_000, 1_000_001, 1_000_999, 1_070_000] {
                let at = clock.when(wanted);
                assert!(clock.shows(at) >= wanted, "{fast_ppm}");
                assert!(at == 500 || clock.shows(at - 1) < wanted, "{fast_ppm}");
            }
            clock.jump(9_000);
            assert_eq!(clock.shows(500), 1_009_000);
        }
    }

    #[test]
    fn what_is_sent_comes_in_order_however_late() {
        let mut network = Network::default();
        let wire = network.connect((0, NodeId(1)), (1, NodeId(2)));
        assert_eq!(network.put((wire, 1), 9, Parcel::Members(Kind::Ping, vec![1])), Some(9));
        assert_eq!(network.put((wire, 1), 5, Parcel::Closed), Some(9));
        network.hold((wire, 1));
        assert_eq!(network.named((wire, 1), Session(3)), 1);
        assert!(matches!(network.take((wire, 1)), Some(Parcel::Members(Kind::Ping, _))));
        assert!(matches!(network.take((wire, 1)), Some(Parcel::Closed)));
        network.close((wire, 0));
        assert_eq!(network.of(NodeId(2)), [(wire, 1)]);
        network.close((wire, 1));
        assert!(network.end((wire, 1)).is_none());
    }
}
