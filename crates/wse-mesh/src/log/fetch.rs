//! Messages that one node has and another lacks, asked for by their offsets, the last ones first.

use super::chain::Chain;
use super::core::Core;
use super::frames::about_one::{Fetch, Fetched, put_fetched_head};
use super::frames::entries::put_entries;
use super::topic::{Role, Topic};
use crate::ids::NodeId;
use crate::wire::Kind;
use crate::wire::bytes::put_number;

impl Fetched<'_> {
    /// Whether all that came is part of a log: the same epoch and offset is the same message, whoever sends it.
    pub(crate) fn is_on(&self, chain: &Chain) -> bool {
        let mut entries = (self.entries.first..).zip(&self.entries.items);
        entries.all(|(offset, item)| chain.at(offset).is_some_and(|segment| segment.epoch == item.epoch))
    }
}

impl Topic {
    pub(crate) fn send_fetch(&self, core: &mut Core, to: NodeId, fetch: Fetch) {
        core.counters.fetches += 1;
        core.send_new(to, Kind::LogFetch, &self.name, |out| fetch.encode(out));
    }

    /// Asks for what lies below the floor down to an offset, unless something is asked already.
    pub(crate) fn fetch_below(&mut self, core: &mut Core, to: NodeId, after: u64) {
        let fetch = Fetch { after, upto: self.history.floor() };
        if self.fetching.is_none() && fetch.after < fetch.upto && core.session(to).is_some() {
            self.fetching = Some((to, fetch));
            self.send_fetch(core, to, fetch);
        }
    }

    /// Somebody lacks messages.
    pub(crate) fn on_fetch(&self, core: &mut Core, from: NodeId, fetch: Fetch) {
        let (history, part_bytes) = (&self.history, core.config.part_bytes);
        let has = history.floor() < fetch.upto && fetch.upto <= history.top();
        let after = fetch.after.max(history.floor());
        let (mut begin, mut bytes) = (fetch.upto, 0);
        if has {
            for (offset, entry) in history.ring.range(after, fetch.upto).rev() {
                bytes += entry.message.len() + 16;
                if bytes > part_bytes && offset < fetch.upto {
                    break;
                }
                begin = offset - 1;
            }
        }
        let now = core.now;
        core.send_new(from, Kind::LogFetched, &self.name, |out| {
            put_fetched_head(out, fetch, has && begin > after);
            if has {
                put_entries(out, history, begin, fetch.upto, now, usize::MAX);
            } else {
                put_number(out, fetch.upto + 1);
            }
        });
    }

    /// They have come.
    pub(crate) fn on_fetched(&mut self, core: &mut Core, from: NodeId, fetched: &Fetched<'_>) {
        if matches!(self.role, Role::Taking(_)) {
            self.on_pulled(core, from, fetched);
            return;
        }
        if self.fetching.take_if(|(asked, fetch)| *asked == from && *fetch == fetched.fetch).is_none() {
            return;
        }
        let connects = fetched.fetch.upto == self.history.floor() && fetched.is_on(&self.history.chain);
        let mut is_all = !fetched.more || !connects;
        if connects {
            is_all |=
                !self.history.prepend(fetched.entries.to_entries(core.now), core.now, &core.config.limits);
        }
        if is_all {
            self.nothing_below(fetched.fetch.after);
        }
        match self.role {
            Role::Home(_) if !is_all => self.fetch_below(core, from, fetched.fetch.after),
            _ => self.filled_copy(core, is_all),
        }
        self.touch(core);
    }
}
