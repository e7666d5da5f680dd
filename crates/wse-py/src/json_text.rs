//! A Python dict as JSON text, with integers of any size to the last digit.

use std::fmt::{self, Write as _};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// The engine reads JSON that nests at most 127 deep.
const MAX_DEPTH: usize = 127;

/// No longer integer fits into a double, in which a server (and JavaScript) reads numbers that it does not know.
const MAX_INT_DIGITS: usize = 308;

const ALLOWED: &str = "allowed: str, int, float, bool, None, and list, tuple and dict of them";

/// The JSON text of a dict; errors call it `name`.
pub(crate) fn dict_text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let Ok(dict) = value.cast::<PyDict>() else {
        return Err(PyTypeError::new_err(format!(
            "{name} is of type {}; allowed: dict",
            value.get_type().name()?
        )));
    };
    let mut text = String::with_capacity(256);
    write_dict(&mut text, dict, &Place::Root(name))?;
    Ok(text)
}

fn write_value(text: &mut String, value: &Bound<'_, PyAny>, place: &Place<'_>) -> PyResult<()> {
    if place.depth() >= MAX_DEPTH {
        return Err(PyValueError::new_err(format!(
            "{} nest too deep, or contain themselves; allowed: at most {MAX_DEPTH} levels",
            place.root()
        )));
    }
    if value.is_none() {
        text.push_str("null");
        Ok(())
    } else if let Ok(value) = value.cast::<PyBool>() {
        text.push_str(if value.is_true() { "true" } else { "false" });
        Ok(())
    } else if let Ok(value) = value.cast::<PyString>() {
        write_str(text, value, place)
    } else if let Ok(value) = value.cast::<PyInt>() {
        write_int(text, value, place)
    } else if let Ok(value) = value.cast::<PyFloat>() {
        write_float(text, value.value(), place)
    } else if let Ok(value) = value.cast::<PyDict>() {
        write_dict(text, value, place)
    } else if let Ok(value) = value.cast::<PyList>() {
        write_items(text, value.iter(), place)
    } else if let Ok(value) = value.cast::<PyTuple>() {
        write_items(text, value.iter(), place)
    } else {
        Err(wrong_type(value, place))
    }
}

fn write_dict(text: &mut String, dict: &Bound<'_, PyDict>, place: &Place<'_>) -> PyResult<()> {
    text.push('{');
    for (i, (name, value)) in dict.iter().enumerate() {
        // `json.dumps` writes 1, True and None as text; a member of that name is nobody's intention.
        let Ok(name) = name.cast::<PyString>() else {
            let message = format!("{place} has the key {}; allowed: str", name.repr()?);
            return Err(PyTypeError::new_err(message));
        };
        if i > 0 {
            text.push(',');
        }
        write_str(text, name, place)?;
        text.push(':');
        write_value(text, &value, &Place::Member(place, name.to_str()?))?;
    }
    text.push('}');
    Ok(())
}

fn write_items<'py>(
    text: &mut String,
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    place: &Place<'_>,
) -> PyResult<()> {
    text.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_value(text, &item, &Place::Item(place, i))?;
    }
    text.push(']');
    Ok(())
}

fn write_str(text: &mut String, value: &Bound<'_, PyString>, place: &Place<'_>) -> PyResult<()> {
    let Ok(value) = value.to_str() else {
        let message = format!("{place} has a lone surrogate, which has no UTF-8; allowed: any other str");
        return Err(PyValueError::new_err(message));
    };
    text.push_str(&serde_json::Value::from(value).to_string());
    Ok(())
}

fn write_int(text: &mut String, value: &Bound<'_, PyInt>, place: &Place<'_>) -> PyResult<()> {
    if let Ok(value) = value.extract::<i64>() {
        return write!(text, "{value}").map_err(|_| PyValueError::new_err("out of memory"));
    }
    // Not `str(value)`: a subclass, say of an enum, may print something else.
    let digits = value.py().get_type::<PyInt>().call_method1("__repr__", (value,));
    match digits {
        Ok(digits) if digits.len()? <= MAX_INT_DIGITS => {
            text.push_str(digits.cast::<PyString>()?.to_str()?);
            Ok(())
        }
        _ => Err(PyValueError::new_err(format!(
            "{place} is an int too large; allowed: up to {MAX_INT_DIGITS} digits"
        ))),
    }
}

fn write_float(text: &mut String, value: f64, place: &Place<'_>) -> PyResult<()> {
    match serde_json::Number::from_f64(value) {
        Some(number) => {
            text.push_str(&number.to_string());
            Ok(())
        }
        None => Err(PyValueError::new_err(format!(
            "{place} is {value}, which JSON has not; allowed: finite numbers"
        ))),
    }
}

fn wrong_type(value: &Bound<'_, PyAny>, place: &Place<'_>) -> PyErr {
    let type_name = value.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string());
    let hint = match type_name.as_str() {
        "datetime" if place.root() == "claims" => "; a date is given in seconds, int(when.timestamp())",
        _ => "",
    };
    PyTypeError::new_err(format!("{place} is of type {type_name}; {ALLOWED}{hint}"))
}

/// Where in the dict a value is, for a message: `claims["a"][0]`.
enum Place<'a> {
    Root(&'a str),
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn root(&self) -> &str {
        match self {
            Place::Root(name) => name,
            Place::Member(parent, _) | Place::Item(parent, _) => parent.root(),
        }
    }

    fn depth(&self) -> usize {
        match self {
            Place::Root(_) => 0,
            Place::Member(parent, _) | Place::Item(parent, _) => parent.depth() + 1,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root(name) => f.write_str(name),
            Place::Member(parent, name) => write!(f, "{parent}[{name:?}]"),
            Place::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
