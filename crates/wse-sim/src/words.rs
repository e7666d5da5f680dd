//! Frames in words, for whoever reads a trace.

use wse_mesh::wire::Kind;

/// A frame in words.
#[must_use]
pub fn describe(kind: Kind, topic: &str, payload: &[u8]) -> String {
    use wse_mesh::log::frames::about_many as many;
    use wse_mesh::log::frames::about_one as one;
    let what = match kind {
        Kind::LogQuery => format!("{:?}", many::Query::decode(payload)),
        Kind::LogQueryReply => format!("{:?}", many::QueryReply::decode(payload)),
        Kind::LogInvite => format!("{:?}", many::Invite::decode_all(payload)),
        Kind::LogAttach => format!("{:?}", many::Attach::decode_all(payload)),
        Kind::LogDetach | Kind::LogUnfollow => format!("{:?}", many::decode_detach(payload)),
        Kind::LogOffer | Kind::LogNack => format!("{:?}", many::TopicTerm::decode_all(payload)),
        Kind::LogCommit | Kind::LogReplicaAck => format!("{:?}", many::UpTo::decode_all(payload)),
        Kind::LogReplicaSync | Kind::LogSync => one::Sync::decode(payload).map_or_else(
            |error| error.to_string(),
            |sync| {
                format!(
                    "{:?} lead {:?} floor {} fresh {} chain {:?} commit {} entries {}..={}",
                    sync.term,
                    sync.lead,
                    sync.floor,
                    sync.fresh,
                    sync.chain,
                    sync.commit,
                    sync.entries.first,
                    sync.entries.end()
                )
            },
        ),
        Kind::LogReplicate | Kind::LogEntries => one::Entries::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| {
                format!(
                    "{:?} commit {} entries {}..={}",
                    frame.term,
                    frame.commit,
                    frame.entries.first,
                    frame.entries.end()
                )
            },
        ),
        Kind::LogFetch => format!("{:?}", one::Fetch::decode(payload)),
        Kind::LogFetched => one::Fetched::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| {
                format!(
                    "{:?} more {} entries {}..={}",
                    frame.fetch,
                    frame.more,
                    frame.entries.first,
                    frame.entries.end()
                )
            },
        ),
        Kind::LogHeadQuery => format!("{:?}", one::HeadQuery::decode(payload)),
        Kind::LogHeadReply => format!("{:?}", one::HeadQuery::decode_reply(payload)),
        Kind::LogPublish => one::Publish::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| format!("base {} first {} x{}", frame.base, frame.first, frame.messages.len()),
        ),
        Kind::LogPublishAck => format!("{:?}", one::Stored::decode_all(payload)),
        _ => String::new(),
    };
    format!("{kind:?} {topic} {what}")
}
