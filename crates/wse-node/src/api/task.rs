//! What one request wants, done in steps.

use std::sync::Arc;

use wse_core::http::Response;
use wse_core::http::api::{Limits, Order, Problem, Question, Route, Whom, utf8};
use wse_core::topic::OwnedFilter;

use super::Room;
use super::history::Looking;
use super::lists::{Listing, TopicList, presence};
use super::people::{Closing, Finding, Narrowing};
use super::publishing::Publishing;
use crate::shared::Shared;

/// The longest body that a shard itself looks at: longer ones would keep its clients waiting.
const LIGHT: usize = 16 * 1024;

/// What a step came to.
pub(crate) enum Step {
    /// The answer.
    Done(Response),
    /// There is more to do.
    Soon,
    /// There is nothing to do now: something has to happen first.
    Later,
}

impl From<Problem> for Step {
    fn from(problem: Problem) -> Self {
        Self::Done(problem.to_response())
    }
}

/// A request on its way to its answer.
#[derive(Debug)]
pub(crate) struct Task {
    state: State,
    /// For as long as the body is there.
    _room: Room,
}

#[derive(Debug)]
enum State {
    /// Nobody has looked at it yet.
    Unread {
        route: Route,
        query: String,
        body: Vec<u8>,
    },
    Publishing(Box<Publishing>),
    Closing(Closing),
    Narrowing(Box<Narrowing>),
    Presence {
        topic: OwnedFilter,
        after: Option<String>,
        limit: usize,
    },
    Listing(Box<Listing>),
    Topics(Box<TopicList>),
    Looking(Box<Looking>),
}

impl Task {
    pub(crate) fn new(route: Route, query: String, body: Vec<u8>, room: Room) -> Self {
        Self { state: State::Unread { route, query, body }, _room: room }
    }

    /// Whether its first step takes no longer than a message of a client.
    pub(crate) fn is_light(&self) -> bool {
        matches!(&self.state, State::Unread { route: Route::Publish, body, .. } if body.len() <= LIGHT)
    }

    /// Does what can be done without waiting, for about a millisecond. `patient` is a thread that nobody else waits for.
    pub(crate) fn step(&mut self, shared: &Arc<Shared>, patient: bool) -> Step {
        if let State::Unread { .. } = &self.state
            && let Err(problem) = self.read(shared)
        {
            return problem.into();
        }
        match &mut self.state {
            State::Unread { .. } => unreachable!("it was just read"),
            State::Publishing(publishing) => publishing.step(shared, patient),
            State::Closing(closing) => closing.step(shared),
            State::Narrowing(narrowing) => narrowing.step(shared),
            State::Presence { topic, after, limit } => {
                presence(shared, topic.as_filter(), after.as_deref(), *limit)
            }
            State::Listing(listing) => listing.step(shared),
            State::Topics(list) => list.step(shared),
            State::Looking(looking) => looking.step(shared),
        }
    }

    /// The answer of a task that is given up because the server ends.
    pub(crate) fn stop(&self) -> Response {
        let published = match &self.state {
            State::Publishing(publishing) => publishing.published(),
            _ => 0,
        };
        Problem::stopping(published).to_response()
    }

    fn read(&mut self, shared: &Shared) -> Result<(), Problem> {
        let State::Unread { route, query, body } = &mut self.state else { return Ok(()) };
        let limits = Limits { max_message_size: shared.options.max_message_size };
        if route.is_read() {
            self.state = match Question::parse(*route, query)? {
                Question::Connections { user_id, after, limit } => {
                    State::Listing(Box::new(Listing::new(shared, user_id, after.as_deref(), limit)?))
                }
                Question::Topics { pattern, after, limit } => {
                    State::Topics(Box::new(TopicList::new(pattern, after, limit)))
                }
                Question::History { topic, since, limit } => {
                    State::Looking(Box::new(Looking::new(shared, topic, since, limit)))
                }
                Question::Presence { topic, after, limit } => State::Presence { topic, after, limit },
            };
            return Ok(());
        }
        let (route, body) = (*route, utf8(std::mem::take(body))?);
        self.state = match Order::parse(route, &body, &limits)? {
            Order::Publish { publications, wait } => {
                let is_one = route == Route::Publish;
                State::Publishing(Box::new(Publishing::new(shared, body, publications, wait, is_one)?))
            }
            Order::Disconnect { whom, code, reason } => {
                State::Closing(Closing::new(finding(shared, whom), code, reason))
            }
            Order::RefreshAcl { whom, acl } => {
                State::Narrowing(Box::new(Narrowing::new(finding(shared, whom), acl)))
            }
        };
        Ok(())
    }
}

fn finding(shared: &Shared, whom: Whom) -> Finding {
    match whom {
        Whom::Connection(id) => Finding::one(shared, &id),
        Whom::User(user) => Finding::of(user),
    }
}
