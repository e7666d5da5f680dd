//! The thread that works on requests: each in its turn, a step at a time.

use std::sync::Arc;
use std::time::Duration;

use wse_core::http::Response;

use super::{Job, Step};
use crate::inbox::Entry;
use crate::shared::Shared;

/// How long it sleeps when all that it has waits for something else.
const LOOK: Duration = Duration::from_millis(1);

/// Works until the server ends, and answers what is left then.
pub(crate) fn run(shared: &Arc<Shared>) {
    let Some(api) = &shared.api else { return };
    let mut jobs: Vec<Job> = Vec::new();
    let mut wait = None;
    while api.take(&mut jobs, wait) {
        let mut soon = false;
        jobs.retain_mut(|job| match job.task.step(shared, true) {
            Step::Done(response) => {
                answer(shared, job, response);
                false
            }
            Step::Soon => {
                soon = true;
                true
            }
            Step::Later => true,
        });
        wait = match (jobs.is_empty(), soon) {
            (true, _) => None,
            (false, true) => Some(Duration::ZERO),
            (false, false) => Some(LOOK),
        };
    }
    for job in &jobs {
        answer(shared, job, job.task.stop());
    }
}

fn answer(shared: &Shared, job: &Job, response: Response) {
    if let Some(api) = &shared.api {
        api.answered();
    }
    let entry = Entry::Answer { conn: job.conn, response: Box::new(response) };
    // A shard that has ended has dropped the connection too.
    let _ = shared.shards[usize::from(job.conn.shard)].inbox.put_now(|state| state.entries.push(entry));
}
