//! One function for each type of option: a Python value in, a Rust value or the fitting exception out.

use std::time::Duration;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString, PyTuple};
use wse_core::options::{self, Choice, IpNet, OptionError, OptionSpec, Secret};

use super::to_exception;

/// The longest `repr` that a message repeats, in characters.
const MAX_SHOWN: usize = 100;

/// An `int`, or whatever says that it is one (`__index__`), such as a number of numpy; no `bool`.
pub(super) fn integer(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    match value.extract() {
        Ok(number) if !value.is_instance_of::<PyBool>() => Ok(number),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Err(wrong_value(spec, value)),
        _ => Err(wrong_type(spec, value)),
    }
}

/// A `float`, or whatever says that it can be one (`__float__`, `__index__`); no `bool`.
pub(super) fn number(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract() {
        Ok(number) if !value.is_instance_of::<PyBool>() => Ok(number),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Err(wrong_value(spec, value)),
        _ => Err(wrong_type(spec, value)),
    }
}

/// A number that can be a time span: not negative, not infinite, not a NaN.
pub(super) fn seconds(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    Duration::try_from_secs_f64(number(spec, value)?).map_err(|_| wrong_value(spec, value))
}

/// True or False; 0 and 1 are numbers.
pub(super) fn boolean(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.cast::<PyBool>().map(|value| value.is_true()).map_err(|_| wrong_type(spec, value))
}

/// One of a few names.
pub(super) fn choice<C: Choice>(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<C> {
    C::from_name(&string(spec, value)?).ok_or_else(|| wrong_value(spec, value))
}

/// A `str`, or None.
pub(super) fn text(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() { Ok(None) } else { string(spec, value).map(Some) }
}

/// `bytes` or a `str`, which stands for its UTF-8, or None.
pub(crate) fn secret(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Option<Secret>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(Some(Secret::new(bytes.as_bytes()))),
        Err(_) => Ok(Some(Secret::new(string(spec, value)?.into_bytes()))),
    }
}

/// A list or tuple of `str`, or None.
pub(crate) fn origins(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<String>>> {
    if value.is_none() {
        return Ok(None);
    }
    options::origins(&strings(spec, value)?).map(Some).map_err(to_exception)
}

/// A list or tuple of `str`.
pub(super) fn networks(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Vec<IpNet>> {
    let parsed: Result<_, OptionError> =
        strings(spec, value)?.iter().map(|text| options::network(text)).collect();
    parsed.map_err(to_exception)
}

/// Only a list or a tuple: a single `str` is a sequence of `str` too, and always a mistake.
fn strings(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if !value.is_instance_of::<PyList>() && !value.is_instance_of::<PyTuple>() {
        return Err(wrong_type(spec, value));
    }
    value
        .try_iter()?
        .map(|item| {
            let item = item?;
            if item.is_instance_of::<PyString>() {
                return string(spec, &item);
            }
            Err(to_exception(spec.wrong_type(format!("{} in it", shown(&item)))))
        })
        .collect()
}

/// Any `str` but one with lone surrogates, which no UTF-8 can hold.
fn string(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(spec, value))?;
    text.to_str().map(str::to_owned).map_err(|_| to_exception(spec.wrong_value("text with a lone surrogate")))
}

fn wrong_type(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyErr {
    to_exception(spec.wrong_type(shown_unless_secret(spec, value)))
}

fn wrong_value(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> PyErr {
    to_exception(spec.wrong_value(shown_unless_secret(spec, value)))
}

fn shown_unless_secret(spec: &OptionSpec, value: &Bound<'_, PyAny>) -> String {
    if spec.secret { of_type(value) } else { shown(value) }
}

/// The `repr`, cut to a readable length; a value that has none is shown by its type.
pub(super) fn shown(value: &Bound<'_, PyAny>) -> String {
    let Ok(text) = value.repr() else { return of_type(value) };
    let text = text.to_string_lossy();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

fn of_type(value: &Bound<'_, PyAny>) -> String {
    match value.get_type().name() {
        Ok(name) => format!("a value of type {name}"),
        Err(_) => "a value of another type".to_owned(),
    }
}
