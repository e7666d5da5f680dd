//! Keyword arguments of Python to [`Options`]: unknown names, wrong types and wrong values become exceptions that say what to do.
//!
//! Which argument is converted how is generated from `spec/options.toml`; what is allowed is decided by `wse-core`.

mod convert;
mod generated;

use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use wse_core::options::{OptionError, OptionErrorKind, Options, nearest};

pub(crate) use convert::{origins, secret};

/// Reads and checks all options. It does not look at the environment.
///
/// # Errors
/// `TypeError` for an unknown option or a wrong type, `ValueError` for a value that is not allowed, `NotImplementedError` for one
/// that asks for something that does not exist yet. Each names the option, the value (never a secret) and what is allowed.
pub(crate) fn from_kwargs(kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Options> {
    let mut options = Options::default();
    for (name, value) in kwargs.into_iter().flatten() {
        let name = name.cast_into::<PyString>()?;
        if !generated::set(&mut options, &name.to_string_lossy(), &value)? {
            return Err(unknown(&name));
        }
    }
    options.check().map_err(to_exception)?;
    Ok(options)
}

/// The exception that says the same.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub(crate) fn to_exception(error: OptionError) -> PyErr {
    let message = error.to_string();
    match error.kind {
        OptionErrorKind::Type => PyTypeError::new_err(message),
        OptionErrorKind::Value | OptionErrorKind::Key => PyValueError::new_err(message),
        OptionErrorKind::NotBuilt => PyNotImplementedError::new_err(message),
    }
}

/// Says which option was probably meant. The value is not shown: it may belong to a secret whose name was misspelt.
fn unknown(name: &Bound<'_, PyString>) -> PyErr {
    let shown = convert::shown(name.as_any());
    PyTypeError::new_err(match nearest(&name.to_string_lossy()) {
        Some(meant) => format!("unknown option {shown}; did you mean '{meant}'?"),
        None => format!("unknown option {shown}; wse_server.options.OPTIONS lists all options"),
    })
}
