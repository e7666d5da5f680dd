//! The way of log lines from any thread of the engine to Python's `logging`, without letting an I/O thread wait for the GIL.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Lines that may wait for Python; what comes beyond is counted and told with the next line.
const WAITING: usize = 1024;
/// How long the end of the program waits for the lines that are left.
const PATIENCE: Duration = Duration::from_secs(2);

enum Line {
    Log { level: u8, text: String },
    End(SyncSender<()>),
}

static LOST: AtomicU64 = AtomicU64::new(0);
static LINES: OnceLock<SyncSender<Line>> = OnceLock::new();

struct ToPython(SyncSender<Line>);

impl<S: Subscriber> Layer<S> for ToPython {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = python_level(*event.metadata().level());
        if self.0.try_send(Line::Log { level, text: text.finish() }).is_err() {
            LOST.fetch_add(1, Relaxed);
        }
    }
}

/// The level of Python's `logging`.
fn python_level(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// A line of text: the message, then the fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // How many lines were left out is news only if some were.
        if field.name() != "left_out" || value > 0 {
            self.record_debug(field, &value);
        }
    }
}

/// Sends what the engine has to say to the logger `wse_server` from now on, and stops before the interpreter ends.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let (sender, receiver) = sync_channel(WAITING);
    if LINES.set(sender.clone()).is_err() {
        return Ok(());
    }
    let layer = ToPython(sender).with_filter(tracing_subscriber::filter::LevelFilter::DEBUG);
    // Another subscriber can only be there if this module set it before, and then the lines find their way already.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    // Imported now: a process that has run out of descriptors could not load it when it has most to say.
    py.import("logging")?;
    std::thread::Builder::new().name("wse-log".into()).spawn(move || pump(&Mutex::new(receiver)))?;
    let at_exit = PyCFunction::new_closure(py, None, None, |_, _| drain_at_exit())?;
    py.import("atexit")?.call_method1("register", (at_exit,))?;
    Ok(())
}

/// Hands lines to Python until the interpreter ends.
fn pump(receiver: &Mutex<Receiver<Line>>) {
    let receiver = receiver.lock();
    while let Ok(line) = receiver.recv() {
        match line {
            Line::Log { level, text } => Python::attach(|py| {
                if let Err(error) = log(py, level, &text) {
                    error.write_unraisable(py, None);
                }
            }),
            Line::End(done) => {
                // Whoever waits may have given up.
                let _ = done.try_send(());
                return;
            }
        }
    }
}

fn log(py: Python<'_>, level: u8, text: &str) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("wse_server",))?;
    let lost = LOST.swap(0, Relaxed);
    if lost > 0 {
        logger.call_method1("log", (30, "%d log lines were lost: Python did not take them in time", lost))?;
    }
    logger.call_method1("log", (level, "%s", text))?;
    Ok(())
}

/// Stops the servers, lets the lines that are waiting out, and ends the thread: nobody may ask for a GIL that is no more.
fn drain_at_exit() -> PyResult<()> {
    Python::attach(|py| {
        py.detach(|| {
            crate::ending::stop_all();
            crate::ending::let_nobody_return();
            let (done, ended) = sync_channel(1);
            // A logger that hangs must not keep the program from ending.
            let deadline = Instant::now() + PATIENCE;
            if LINES.get().is_some_and(|lines| send_until(lines, Line::End(done), deadline)) {
                let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            }
        });
    });
    Ok(())
}

/// Waits for a place in the queue: the last line must not be lost because there are many others.
fn send_until(lines: &SyncSender<Line>, mut line: Line, deadline: Instant) -> bool {
    loop {
        match lines.try_send(line) {
            Ok(()) => return true,
            Err(TrySendError::Full(back)) if Instant::now() < deadline => line = back,
            Err(_) => return false,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
