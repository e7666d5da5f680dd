//! The HTTP API: what is shared by the shards, which read its requests, and the thread that works on those that take long.
//!
//! A shard reads a request and, if it publishes one short message, does what it wants at once, as for a client. Everything else, and what has
//! to wait, becomes a [`Job`] of the API's thread, which does it in steps: none of them waits for room, for other nodes or for subscribers,
//! so that one request keeps no other waiting. The answer comes back through the shard's inbox.

mod counts;
mod history;
mod lists;
mod people;
mod publishing;
mod task;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use wse_core::ConnId;
use wse_core::http::api::{ApiKey, Problem, Route};
use wse_core::options::Options;

pub(crate) use counts::{Counts, OTHER, PAGE};
pub(crate) use task::{Step, Task};
pub(crate) use thread::run;

/// The description of the API.
pub(crate) const OPENAPI: &str = include_str!("../../../../spec/openapi.json");

/// Connections that stay between requests. The answers to others tell them to close, as all answers once did.
const MOST_KEPT: usize = 1024;
/// Requests that the API's thread has taken and not answered.
const MOST_JOBS: usize = 1024;
/// Bytes of bodies that are being read or worked on, unless one alone may have more than half of that.
const BODY_BYTES: usize = 64 << 20;

/// What the threads share of the API.
#[derive(Debug)]
pub(crate) struct Api {
    /// It may be replaced.
    pub(crate) key: ArcSwap<ApiKey>,
    line: Mutex<Line>,
    came: Condvar,
    kept: AtomicUsize,
    most_body_bytes: usize,
    body_bytes: AtomicUsize,
    pub(crate) auth_failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    jobs: Vec<Job>,
    /// Those that were taken and are not answered, the ones in line included.
    unanswered: usize,
    closed: bool,
}

/// A request, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) conn: ConnId,
    pub(crate) task: Task,
}

/// A place among the connections that stay.
#[derive(Debug)]
pub(crate) struct Kept(Arc<Api>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Relaxed);
    }
}

/// Room for a body.
#[derive(Debug)]
pub(crate) struct Room {
    api: Arc<Api>,
    bytes: usize,
}

impl Room {
    /// Takes as much more as a body of so many bytes needs; false if there is not so much.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.api.body_bytes.fetch_add(more, Relaxed);
        if before + more > self.api.most_body_bytes {
            self.api.body_bytes.fetch_sub(more, Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.api.body_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

impl Api {
    /// `None` where there is no API.
    pub(crate) fn of(options: &Options) -> Option<Arc<Self>> {
        let key = ApiKey::new(options.api_key.clone()?);
        let longest = Route::PublishMany.max_body(options.max_message_size);
        Some(Arc::new(Self {
            key: ArcSwap::from_pointee(key),
            line: Mutex::default(),
            came: Condvar::new(),
            kept: AtomicUsize::new(0),
            most_body_bytes: BODY_BYTES.max(2 * longest),
            body_bytes: AtomicUsize::new(0),
            auth_failures: AtomicU64::new(0),
        }))
    }

    /// A place for one more connection that stays, if there is one.
    pub(crate) fn keep(self: &Arc<Self>) -> Option<Kept> {
        let kept = Kept(self.clone());
        (self.kept.fetch_add(1, Relaxed) < MOST_KEPT).then_some(kept)
    }

    /// Room for a body of which nothing has come.
    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room { api: self.clone(), bytes: 0 }
    }

    /// Connections that stay between requests.
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    /// Requests that the thread works on.
    pub(crate) fn unanswered(&self) -> usize {
        self.line.lock().unanswered
    }

    /// Gives the thread a job.
    ///
    /// # Errors
    /// [`Problem`]: it takes no more now, or never again.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Problem> {
        let mut line = self.line.lock();
        if line.closed {
            return Err(Problem::stopping(0));
        }
        if line.unanswered >= MOST_JOBS {
            return Err(Problem::busy());
        }
        line.unanswered += 1;
        line.jobs.push(job);
        drop(line);
        self.came.notify_one();
        Ok(())
    }

    /// The thread ends as soon as it has answered what it has.
    pub(crate) fn close(&self) {
        self.line.lock().closed = true;
        self.came.notify_one();
    }

    /// For the thread: what came, waiting for so long for the first; without a limit if there is none. Whether more may come.
    fn take(&self, jobs: &mut Vec<Job>, wait: Option<Duration>) -> bool {
        let mut line = self.line.lock();
        if line.jobs.is_empty() && !line.closed {
            match wait {
                None => self.came.wait(&mut line),
                Some(wait) if !wait.is_zero() => {
                    self.came.wait_for(&mut line, wait);
                }
                Some(_) => {}
            }
        }
        jobs.append(&mut line.jobs);
        !line.closed
    }

    fn answered(&self) {
        self.line.lock().unanswered -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wse_core::options::Secret;

    fn api() -> Arc<Api> {
        let api_key = Some(Secret::new(&b"0123456789abcdef0123456789abcdef"[..]));
        Api::of(&Options { api_key, ..Options::default() }).expect("there is a key")
    }

    #[test]
    fn bodies_have_so_much_room_and_give_it_back() {
        let api = api();
        let mut rooms: Vec<Room> = (0..8).map(|_| api.room()).collect();
        for room in &mut rooms {
            // As a body comes: in pieces.
            assert!((1..=8).all(|mebibyte| room.grow_to(mebibyte << 20)));
        }
        let mut late = api.room();
        assert!(late.grow_to(0) && !late.grow_to(1) && !rooms[0].grow_to((8 << 20) + 1));
        rooms.pop();
        assert!(late.grow_to(8 << 20));
        drop((late, rooms));
        assert_eq!(api.body_bytes.load(Relaxed), 0);
    }

    #[test]
    fn so_many_connections_stay_and_no_more() {
        let api = api();
        let mut kept: Vec<Kept> = (0..MOST_KEPT).map(|_| api.keep().expect("a place")).collect();
        assert!(api.keep().is_none() && api.keep().is_none());
        assert_eq!(api.kept(), MOST_KEPT);
        kept.pop();
        kept.push(api.keep().expect("the place that became free"));
        drop(kept);
        assert_eq!(api.kept(), 0);
    }

    #[test]
    fn the_thread_takes_so_many_jobs_and_none_when_it_ends() {
        let api = api();
        let conn = ConnId { shard: 0, slot: 0, generation: 0 };
        let job = || Job { conn, task: Task::new(Route::Topics, String::new(), Vec::new(), api.room()) };
        assert!((0..MOST_JOBS).all(|_| api.submit(job()).is_ok()));
        let mut jobs = Vec::new();
        assert!(api.take(&mut jobs, None));
        // Taken is not answered.
        assert_eq!(api.submit(job()).map_err(|problem| problem.code), Err("OVERLOADED"));
        api.answered();
        assert!(api.submit(job()).is_ok());
        api.close();
        assert_eq!(api.submit(job()).map_err(|problem| problem.code), Err("STOPPING"));
        assert!(!api.take(&mut jobs, None));
        assert_eq!(jobs.len(), MOST_JOBS + 1);
    }
}
