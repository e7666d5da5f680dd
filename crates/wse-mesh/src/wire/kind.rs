//! The kinds of frames. A kind that is not listed is skipped and counted, so that versions can meet during a rolling upgrade.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame says; `spec/cluster.md` has the fields of each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The kind of a number on the wire, if this version knows it.
            #[must_use]
            pub fn from_byte(byte: u8) -> Option<Kind> {
                match byte { $($number => Some(Kind::$name),)* _ => None }
            }

            /// Whether it is about a topic with history.
            #[must_use]
            pub fn is_of_log(self) -> bool {
                matches!(self as u8, 0x30..=0x4f)
            }
        }
    };
}

kinds! {
    /// Who speaks: the first frame of each side.
    Hello = 0x01,
    /// One member, told when a link comes up and when something about it changes.
    PeerAnnounce = 0x02,
    /// All members that the speaker knows.
    PeerList = 0x03,
    /// Are you there?
    Ping = 0x04,
    /// I am.
    Pong = 0x05,
    /// The speaker is leaving: it takes no new topics and hands on the ones it has.
    Drain = 0x06,
    /// The speaker is gone as of now.
    Shutdown = 0x07,
    /// Random bytes to be signed with the secret of the cluster.
    Challenge = 0x08,
    /// The signature of the other side's challenge.
    Proof = 0x09,
    /// Which links with the listener stand at the speaker's.
    Stand = 0x0a,
    /// This is the link that counts.
    Keep = 0x0b,

    /// Topics, patterns and groups that the speaker now has receivers of.
    Sub = 0x10,
    /// Those that it has no more.
    Unsub = 0x11,
    /// All that it has receivers of, in several frames.
    Resync = 0x12,
    /// Up to which version the speaker knows the other's interest.
    InterestAck = 0x13,
    /// A message of a topic without history, or of one that is meant for this cluster's subscribers only once.
    Msg = 0x14,
    /// What the speaker's interest comes to: its version, its size and a checksum.
    InterestDigest = 0x15,
    /// The speaker does not know the other's interest, or has got so much of it.
    InterestAsk = 0x16,

    /// Changes of who is present at the speaker's.
    PresenceDelta = 0x20,
    /// Everybody who is present at the speaker's, in several frames.
    PresenceSnapshot = 0x21,
    /// A version was missed: the speaker wants a snapshot.
    PresenceAsk = 0x22,

    /// The speaker wants to be home. The first of the frames about topics with history, 0x30 to 0x4f: see `log::frames`.
    LogQuery = 0x30,
    /// The logs that were asked for, or that the speaker does not agree.
    LogQueryReply = 0x31,
    /// A log for a replica.
    LogReplicaSync = 0x33,
    /// Entries for a replica.
    LogReplicate = 0x34,
    /// Up to where a replica holds the log.
    LogReplicaAck = 0x35,
    /// Up to where the log is committed.
    LogCommit = 0x38,
    /// The speaker is home and waits for the receiver to attach.
    LogInvite = 0x39,
    /// The term is too old.
    LogNack = 0x3a,
    /// The speaker wants to follow the log, or to keep a copy.
    LogAttach = 0x3b,
    /// The log for a follower.
    LogSync = 0x3c,
    /// Committed entries for a follower.
    LogEntries = 0x3d,
    /// The speaker is home no more, or can't be followed now.
    LogDetach = 0x3e,
    /// The speaker is home and thinks that the other should be.
    LogOffer = 0x3f,
    /// Is this position in your log?
    LogHeadQuery = 0x40,
    /// Yes or no.
    LogHeadReply = 0x41,
    /// Entries that the speaker lacks.
    LogFetch = 0x42,
    /// These.
    LogFetched = 0x43,
    /// Publications for the home.
    LogPublish = 0x44,
    /// Which publications are stored, at which positions, in how many copies.
    LogPublishAck = 0x45,
    /// The speaker has nobody left for whom it follows.
    LogUnfollow = 0x46,
    /// A topic that the receiver may have patterns for has messages after these positions.
    LogHint = 0x47,
    /// Nobody needs these logs any more: the receiver is to forget its copies.
    LogDiscard = 0x48,
    /// It has.
    LogDiscarded = 0x49,
}
