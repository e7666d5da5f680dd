//! How requests were answered, by path and status.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wse_core::http::api::Route;

/// What is counted by itself; the last one stands for all other statuses.
const CODES: [&str; 17] = [
    "200", "400", "401", "404", "405", "408", "409", "411", "413", "415", "417", "426", "431", "501", "503",
    "504", "other",
];
/// Paths beside those of the API. Whatever strangers ask for makes no label of its own.
const PATHS: [&str; 5] = ["/health", "/ready", "/metrics", PAGE, OTHER];
/// The path of all pages of the application.
pub(crate) const PAGE: &str = "page";
/// The path of all that is not there, and of what is no request.
pub(crate) const OTHER: &str = "other";

const ROWS: usize = Route::ALL.len() + PATHS.len();

/// A count for each path and status.
#[derive(Debug)]
pub(crate) struct Counts([[AtomicU64; CODES.len()]; ROWS]);

impl Default for Counts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Default::default()))
    }
}

impl Counts {
    /// Counts an answer of the API.
    pub(crate) fn count_route(&self, route: Route, status: u16) {
        self.count_row(route as usize, status);
    }

    /// Counts another one.
    pub(crate) fn count(&self, path: &str, status: u16) {
        let at = PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len() - 1);
        self.count_row(Route::ALL.len() + at, status);
    }

    fn count_row(&self, row: usize, status: u16) {
        let at = CODES.iter().position(|code| code.parse() == Ok(status)).unwrap_or(CODES.len() - 1);
        self.0[row][at].fetch_add(1, Relaxed);
    }

    /// Path, status and count of what was ever counted.
    pub(crate) fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
        let paths = Route::ALL.map(Route::path).into_iter().chain(PATHS);
        let rows = paths.zip(&self.0).flat_map(|(path, row)| {
            CODES.into_iter().zip(row).map(move |(code, count)| (path, code, count.load(Relaxed)))
        });
        rows.filter(|(.., count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_labels() {
        let counts = Counts::default();
        counts.count_route(Route::Publish, 200);
        counts.count_route(Route::Openapi, 200);
        counts.count("/health", 405);
        counts.count("/whatever", 404);
        counts.count("/else", 418);
        let expected = [
            ("/api/publish", "200", 1),
            ("/api/openapi.json", "200", 1),
            ("/health", "405", 1),
            (OTHER, "404", 1),
            (OTHER, "other", 1),
        ];
        assert_eq!(counts.list(), expected);
    }
}
