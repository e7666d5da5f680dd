//! Python's cyclic garbage collector, kept from looking again and again at thousands of fresh objects that can be in no cycle.
#![expect(unsafe_code, reason = "PyO3 has no safe call for the collector")]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// While it lives the collector does not run of itself.
pub(crate) struct Paused<'py> {
    was_enabled: bool,
    _py: Python<'py>,
}

impl<'py> Paused<'py> {
    pub(crate) fn new(py: Python<'py>) -> Self {
        // SAFETY: the GIL is held, as `py` proves; the call changes a flag of the interpreter and returns its former state.
        let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
        Self { was_enabled, _py: py }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: as above; the token in `self` proves that the GIL is held.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Takes a tuple out of the collector's sight. It must hold nothing but str, bytes and None, which refer to nothing: then it is in no
/// cycle. The interpreter does the same when it first meets such a tuple.
pub(crate) fn untrack(tuple: &Bound<'_, PyTuple>) {
    // SAFETY: the pointer is a live tuple, an object of the collector, and the GIL is held; untracking one twice is allowed.
    unsafe { ffi::PyObject_GC_UnTrack(tuple.as_ptr().cast()) };
}
