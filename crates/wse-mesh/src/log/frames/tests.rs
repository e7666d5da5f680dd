//! Every frame is read as it was written, and whatever bytes come are read or refused.

use proptest::collection::vec;
use proptest::prelude::*;
use wse_core::history::{Epoch, Position};

use super::about_many::*;
use super::about_one::*;
use super::*;
use crate::log::history::{History, Lead};
use crate::log::ring::Entry;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..MAX_NUMBER]
}

fn any_term() -> impl Strategy<Value = Term> {
    (number(), any::<u64>()).prop_map(|(count, node)| Term { count, node: NodeId(node) })
}

fn any_position() -> impl Strategy<Value = Position> {
    (any::<u32>(), number()).prop_map(|(epoch, offset)| Position { epoch: Epoch::new(epoch), offset })
}

fn name() -> impl Strategy<Value = String> {
    "[a-zé/.0-9]{1,40}"
}

/// A log with some messages, from a floor on.
fn any_history() -> impl Strategy<Value = History> {
    let steps = vec((prop::bool::weighted(0.2), 1_u64..4, vec(any::<u8>(), 0..9)), 1..20);
    (0_u64..99, steps, 0_u64..20).prop_map(|(floor, steps, commit)| {
        let mut history = History::default();
        history.ring.reset(floor);
        history.commit = floor;
        let mut count = 0;
        for (seq, (is_new, publisher, message)) in (1..).zip(steps) {
            count += u64::from(is_new && count < 15);
            let entry = Entry { publisher: NodeId(publisher), seq, at_ms: 0, message: message.into() };
            history.append(Term { count, node: NodeId(count) }, Epoch::new(count as u32), entry);
        }
        history.commit = (floor + commit).min(history.top());
        history
    })
}

fn any_outline() -> impl Strategy<Value = Outline> {
    any_history().prop_map(|history| history.outline())
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

proptest! {
    #[test]
    fn a_log_and_the_entries_that_follow_are_read_as_they_were_written(
        history in any_history(), term in any_term(), fresh: bool, end in number(), part in 1_usize..100, top in number(),
    ) {
        let term = Term { count: term.count.max(99), ..term };
        let mut entries = Vec::new();
        let upto = entries::put_entries(&mut entries, &history, history.floor(), history.top(), 0, part);
        let head = SyncHead {
            term,
            lead: Lead { term: fresh.then_some(term), top },
            floor: history.floor(),
            end,
            fresh,
            chain: history.chain.as_of(upto),
            commit: history.commit.min(upto),
            last: history.last_as_of(upto),
        };
        let mut payload = written(|out| head.encode(out));
        payload.extend_from_slice(&entries);
        let read = Sync::decode(&payload).unwrap();
        prop_assert_eq!(&read.chain, &head.chain);
        prop_assert_eq!(&read.last, &head.last);
        prop_assert_eq!((read.term, read.lead, read.floor, read.end), (head.term, head.lead, head.floor, head.end));
        prop_assert_eq!((read.fresh, read.commit, read.entries.end()), (head.fresh, head.commit, upto));

        let mut payload = written(|out| put_entries_head(out, term, top));
        payload.extend_from_slice(&entries);
        let read = Entries::decode(&payload).unwrap();
        prop_assert_eq!((read.term, read.commit, read.entries.end()), (term, top, upto));

        let fetch = Fetch { after: history.floor(), upto };
        prop_assert_eq!(Fetch::decode(&written(|out| fetch.encode(out))), Ok(fetch));
        let mut payload = written(|out| put_fetched_head(out, fetch, fresh));
        payload.extend_from_slice(&entries);
        let read = Fetched::decode(&payload).unwrap();
        prop_assert_eq!((read.fetch, read.more, read.entries.end()), (fetch, fresh, upto));
        prop_assert!(read.is_on(&history.chain));
    }

    #[test]
    fn questions_about_positions_and_publications_are_read_as_they_were_written(
        term in any_term(), position in any_position(), head in prop_oneof![Just(Head::No), Just(Head::Yes), Just(Head::Later)],
        base in 1..MAX_NUMBER / 2, ahead in 0..99_u64, messages in vec(vec(any::<u8>(), 0..20), 0..9),
        stored in vec((number(), number(), any::<u8>(), prop::option::of(any_position())), 0..9),
    ) {
        let query = HeadQuery { term, position };
        prop_assert_eq!(HeadQuery::decode(&written(|out| query.encode(out))), Ok(query));
        prop_assert_eq!(HeadQuery::decode_reply(&written(|out| query.encode_reply(head, out))), Ok((query, head)));

        let payload = written(|out| {
            put_publish_head(out, base, base + ahead);
            messages.iter().for_each(|message| put_publication(out, message));
        });
        let read = Publish::decode(&payload).unwrap();
        prop_assert_eq!((read.base, read.first), (base, base + ahead));
        prop_assert_eq!(read.messages, messages.iter().map(Vec::as_slice).collect::<Vec<_>>());

        let stored = stored.into_iter();
        let stored: Vec<Stored> =
            stored.map(|(first, count, copies, position)| Stored { first, count, copies, position }).collect();
        let payload = written(|out| stored.iter().for_each(|one| one.encode(out)));
        prop_assert_eq!(Stored::decode_all(&payload), Ok(stored));
    }

    #[test]
    fn lists_of_topics_are_read_as_they_were_written(
        items in vec((name(), any_term(), any::<bool>(), number(), any_outline()), 0..6), batch: u64, start in number(),
        commit in 0..20_u64,
    ) {
        let payload = written(|out| {
            put_query_head(out, batch);
            items.iter().for_each(|(topic, term, ..)| TopicTerm { topic, term: *term }.encode(out));
        });
        let topics: Vec<(&str, Term)> = items.iter().map(|(topic, term, ..)| (topic.as_str(), *term)).collect();
        prop_assert_eq!(Query::decode(&payload), Ok(Query { batch, topics: topics.clone() }));

        let terms: Vec<_> = topics.iter().map(|&(topic, term)| TopicTerm { topic, term }).collect();
        let payload = written(|out| terms.iter().for_each(|item| item.encode(out)));
        prop_assert_eq!(TopicTerm::decode_all(&payload), Ok(terms));

        let invites: Vec<_> =
            items.iter().map(|(topic, term, replica, ..)| Invite { topic, term: *term, replica: *replica }).collect();
        let payload = written(|out| invites.iter().for_each(|item| item.encode(out)));
        prop_assert_eq!(Invite::decode_all(&payload), Ok(invites));

        let up: Vec<_> =
            items.iter().map(|(topic, term, _, offset, _)| UpTo { topic, term: *term, offset: *offset, floor: *offset / 2 }).collect();
        let payload = written(|out| up.iter().for_each(|item| item.encode(out)));
        prop_assert_eq!(UpTo::decode_all(&payload), Ok(up));

        let attach: Vec<_> =
            items.iter().map(|(topic, .., outline)| Attach { topic, outline: outline.clone() }).collect();
        let payload = written(|out| attach.iter().for_each(|item| item.encode(out)));
        prop_assert_eq!(Attach::decode_all(&payload), Ok(attach));

        let names: Vec<&str> = items.iter().map(|(topic, ..)| topic.as_str()).collect();
        let payload = written(|out| names.iter().for_each(|name| put_topic(out, name)));
        prop_assert_eq!(decode_detach(&payload), Ok(names));

        let reply = |(at, (_, term, has, _, outline)): (usize, &(String, Term, bool, u64, Outline))| match (at % 3, *has) {
            (0, true) => Reply::Nothing,
            (1, _) => Reply::Refused { promised: *term },
            _ => Reply::Log { commit: commit.min(outline.top), outline: outline.clone(), last: Last::default() },
        };
        let replies: Vec<Reply> = items.iter().enumerate().map(reply).collect();
        let payload = written(|out| {
            put_reply_head(out, batch, start);
            replies.iter().for_each(|reply| reply.encode(out));
        });
        prop_assert_eq!(QueryReply::decode(&payload), Ok(QueryReply { batch, start, replies }));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(prop_oneof![3 => 0..9_u8, 1 => any::<u8>()], 0..200)) {
        let _ = Sync::decode(&bytes);
        let _ = Entries::decode(&bytes);
        let _ = Fetch::decode(&bytes);
        let _ = Fetched::decode(&bytes);
        let _ = HeadQuery::decode(&bytes);
        let _ = HeadQuery::decode_reply(&bytes);
        let _ = Publish::decode(&bytes);
        let _ = Stored::decode_all(&bytes);
        let _ = Query::decode(&bytes);
        let _ = QueryReply::decode(&bytes);
        let _ = Invite::decode_all(&bytes);
        let _ = Attach::decode_all(&bytes);
        let _ = TopicTerm::decode_all(&bytes);
        let _ = UpTo::decode_all(&bytes);
        let _ = decode_detach(&bytes);
    }
}
