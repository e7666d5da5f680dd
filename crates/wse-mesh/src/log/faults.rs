//! Rules that can be left out, so that the simulator can be seen to find it. Without the feature `faults` this is nothing.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "named by the simulator only")]
pub enum Fault {
    /// A home stamps in the epoch that it took over.
    InheritEpoch,
    /// A home takes over without what the others have.
    TakeWithoutAsking,
    /// A replica counts before it holds the messages.
    CountEarly,
    /// Messages are delivered before replicas hold them.
    DeliverEarly,
    /// Publications are acknowledged when they are stamped.
    AcknowledgeEarly,
    /// A home that is asked for its log goes on.
    StayHome,
    /// The table of publishers is lost when a topic is taken over.
    ForgetPublishers,
    /// Subscribers are not told when a log is cut.
    CutSilently,
    /// A position is looked for by its offset alone.
    IgnoreEpoch,
    /// A position is gone on from though its messages are not kept.
    IgnoreFloor,
    /// Who followed on a link that is gone still follows.
    StaleLink,
    /// A home answers before its replica holds what it took over.
    AnswerUnsettled,
    /// A follower goes on over a hole.
    JumpHoles,
    /// Older terms are accepted.
    AcceptOlder,
    /// Suspects are not waited for.
    IgnoreSuspects,
    /// A log that begins from nothing has the term of its home.
    FirstSegmentRanks,
    /// A replica lets a poorer log take the place of its own.
    AcceptPoorer,
    /// A home forgets a log that nobody needs without asking who has copies.
    DiscardUnasked,
}

impl Fault {
    /// All of them, with the names by which the simulator is told.
    pub const ALL: &'static [(&'static str, Fault)] = &[
        ("inherit-epoch", Fault::InheritEpoch),
        ("take-without-asking", Fault::TakeWithoutAsking),
        ("count-early", Fault::CountEarly),
        ("deliver-early", Fault::DeliverEarly),
        ("acknowledge-early", Fault::AcknowledgeEarly),
        ("stay-home", Fault::StayHome),
        ("forget-publishers", Fault::ForgetPublishers),
        ("cut-silently", Fault::CutSilently),
        ("ignore-epoch", Fault::IgnoreEpoch),
        ("ignore-floor", Fault::IgnoreFloor),
        ("stale-link", Fault::StaleLink),
        ("answer-unsettled", Fault::AnswerUnsettled),
        ("jump-holes", Fault::JumpHoles),
        ("accept-older", Fault::AcceptOlder),
        ("ignore-suspects", Fault::IgnoreSuspects),
        ("first-segment-ranks", Fault::FirstSegmentRanks),
        ("accept-poorer", Fault::AcceptPoorer),
        ("discard-unasked", Fault::DiscardUnasked),
    ];
}
