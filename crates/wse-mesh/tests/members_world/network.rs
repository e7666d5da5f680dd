//! Streams between processes: in order, late, held by a block, broken at one end or both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use wse_mesh::ids::Session;
use wse_mesh::members::DialFailure;
use wse_mesh::wire::{Address, Kind};

use super::{Chance, Life};

/// One end of a link: that of the dialler is 0.
pub type Place = (u64, usize);

/// What comes to an end of a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Coming {
    Accepted,
    Dialled(Address),
    Frame(Kind, Vec<u8>),
    Closed,
}

/// What happens to a process.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Timer(Life),
    NotDialled(Life, Address, DialFailure),
    Comes(Place, Coming),
}

#[derive(Debug)]
pub struct End {
    pub host: usize,
    pub life: Life,
    /// What the process calls it, once it has heard of it.
    pub session: Option<Session>,
    pub is_open: bool,
    /// Something that was sent to it is lost: nothing that was sent later comes but the end.
    is_cut: bool,
    /// When the last that was sent to it comes.
    comes_at: u64,
}

pub struct Network {
    slowest_ms: u64,
    up: Vec<bool>,
    /// From, to: nothing passes.
    blocked: BTreeSet<(usize, usize)>,
    held: Vec<(Place, Coming)>,
    links: BTreeMap<u64, [End; 2]>,
    last_link: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    last_event: u64,
}

impl Network {
    pub fn new(hosts: usize, slowest_ms: u64) -> Self {
        Self {
            slowest_ms,
            up: vec![true; hosts],
            blocked: BTreeSet::new(),
            held: Vec::new(),
            links: BTreeMap::new(),
            last_link: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            last_event: 0,
        }
    }

    pub fn slowest_ms(&self) -> u64 {
        self.slowest_ms
    }

    pub fn hosts(&self) -> usize {
        self.up.len()
    }

    pub fn is_up(&self, host: usize) -> bool {
        self.up[host]
    }

    pub fn set_up(&mut self, host: usize, is_up: bool) {
        self.up[host] = is_up;
    }

    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains(&(from, to))
    }

    pub fn block(&mut self, from: usize, to: usize) {
        self.blocked.insert((from, to));
    }

    /// Everything passes again. What was held is to come before anything else does.
    pub fn heal(&mut self) -> Vec<(Place, Coming)> {
        self.blocked.clear();
        std::mem::take(&mut self.held)
    }

    pub fn delay(&self, chance: &mut Chance) -> u64 {
        chance.between(1, self.slowest_ms)
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.last_event += 1;
        self.queue.push(Reverse((at, self.last_event)));
        self.events.insert(self.last_event, event);
    }

    pub fn next(&mut self, until: u64) -> Option<(u64, Event)> {
        let Reverse((at, number)) = *self.queue.peek()?;
        if at > until {
            return None;
        }
        self.queue.pop();
        Some((at, self.events.remove(&number).expect("what is queued is kept")))
    }

    pub fn end(&self, (link, side): Place) -> &End {
        &self.links[&link][side]
    }

    pub fn end_mut(&mut self, (link, side): Place) -> &mut End {
        &mut self.links.get_mut(&link).expect("links are kept")[side]
    }

    /// All links that some process holds open, with both ends.
    pub fn open_links(&self) -> impl Iterator<Item = (u64, &[End; 2])> {
        let open =
            self.links.iter().filter(|(_, ends)| ends.iter().any(|end| end.is_open && end.session.is_some()));
        open.map(|(link, ends)| (*link, ends))
    }

    /// What comes through now; what is blocked is held, and comes in order when that is over.
    pub fn pass(&mut self, place: Place, coming: Coming) -> Option<Coming> {
        if self.end(place).is_cut && coming != Coming::Closed {
            return None;
        }
        let (from, to) = (self.end((place.0, 1 - place.1)).host, self.end(place).host);
        if self.is_blocked(from, to) {
            self.held.push((place, coming));
            return None;
        }
        self.up[to].then_some(coming)
    }

    /// A stream from one process to another. Both hear of it before anything comes on it.
    pub fn connect(
        &mut self,
        now: u64,
        chance: &mut Chance,
        from: (usize, Life),
        to: (usize, Life),
        address: Address,
    ) {
        self.last_link += 1;
        let end =
            |(host, life)| End { host, life, session: None, is_open: true, is_cut: false, comes_at: now };
        self.links.insert(self.last_link, [end(from), end(to)]);
        self.put(now, chance, (self.last_link, 1), Coming::Accepted);
        self.put(now, chance, (self.last_link, 0), Coming::Dialled(address));
    }

    /// From an end to the other.
    pub fn send(&mut self, now: u64, chance: &mut Chance, from: Place, coming: Coming) {
        self.put(now, chance, (from.0, 1 - from.1), coming);
    }

    fn put(&mut self, now: u64, chance: &mut Chance, to: Place, coming: Coming) {
        let late = self.delay(chance);
        let end = self.end_mut(to);
        end.comes_at = end.comes_at.max(now + late);
        let at = end.comes_at;
        self.at(at, Event::Comes(to, coming));
    }

    /// An end is closed by its process; the other hears of it in turn.
    pub fn close(&mut self, now: u64, chance: &mut Chance, place: Place) {
        if std::mem::replace(&mut self.end_mut(place).is_open, false) {
            self.send(now, chance, place, Coming::Closed);
        }
    }

    /// A link breaks; its ends hear of it, or one of them alone.
    pub fn reset(&mut self, now: u64, chance: &mut Chance, link: u64, sides: &[usize]) {
        for side in sides {
            self.put(now, chance, (link, *side), Coming::Closed);
        }
    }

    /// A process has ended. Its host tells the others, if it still can.
    pub fn end_of(&mut self, now: u64, chance: &mut Chance, life: Life, host_lives: bool) {
        let places =
            self.links.iter().flat_map(|(link, ends)| [((*link, 0), &ends[0]), ((*link, 1), &ends[1])]);
        let own: Vec<Place> =
            places.filter(|(_, end)| end.life == life && end.is_open).map(|(place, _)| place).collect();
        for place in own {
            if host_lives {
                self.close(now, chance, place);
            } else {
                self.end_mut(place).is_open = false;
            }
        }
    }

    /// What a process had not got rid of is lost with it.
    pub fn cut_held(&mut self, life: Life) {
        let links = &mut self.links;
        self.held.retain(|((link, side), _)| {
            let ends = links.get_mut(link).expect("links are kept");
            let is_lost = ends[1 - side].life == life;
            ends[*side].is_cut |= is_lost;
            !is_lost
        });
    }

    /// Something came to an end that is closed: its host says so.
    pub fn nobody(&mut self, now: u64, chance: &mut Chance, place: Place) {
        self.send(now, chance, place, Coming::Closed);
    }
}
