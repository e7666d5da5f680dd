//! Python values as JSON text.
//!
//! What is exactly a str, an int and so on is recognised by its type and written at once. Everything else takes the long way: members of
//! enumerations first, since they may be str or int too, then subclasses, then the types of the library.

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMemoryView, PySet, PyString,
    PyTuple, PyType,
};
use wse_core::encoding::MAX_DEPTH;
use wse_core::protocol::quote::{quote, quote_hex};

use super::known::Known;
use super::trouble::{Step, Trouble};
use crate::arguments::type_name;

const ALLOWED: &str = "allowed: str, int, float, bool, None, datetime, date, time, UUID, Decimal, Enum, bytes, dataclasses, \
                       and dict, list, tuple and set of them";
const ALLOWED_KEYS: &str =
    "allowed: str, and int, Enum, UUID, Decimal, datetime, date and time, which become text";

/// No longer integer is written; Python itself refuses longer ones as text.
const MAX_INT_DIGITS: usize = 4300;

type Done = Result<(), Trouble>;

/// Appends one value; `depth` is how many maps and lists it is in.
pub(super) fn write_value(out: &mut String, value: &Bound<'_, PyAny>, depth: usize) -> Done {
    if let Ok(text) = value.cast_exact::<PyString>() {
        write_str(out, text)
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        write_int(out, number)
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        write_dict(out, dict, depth)
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        write_float(out, float.value())
    } else if value.is_none() {
        out.push_str("null");
        Ok(())
    } else if let Ok(boolean) = value.cast_exact::<PyBool>() {
        out.push_str(if boolean.is_true() { "true" } else { "false" });
        Ok(())
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        write_items(out, list.iter(), depth)
    } else {
        write_other(out, value, depth)
    }
}

/// The long way.
fn write_other(out: &mut String, value: &Bound<'_, PyAny>, depth: usize) -> Done {
    let known = Known::get(value.py())?;
    if let Some(text) = known.text_of_exact(value)? {
        return write_isoformat(out, &text);
    }
    if known.is_member(value)? {
        // An enumeration whose values are members of itself would never end.
        check_depth(depth)?;
        let inner = value.getattr("value")?;
        return write_value(out, &inner, depth + 1)
            .map_err(|trouble| trouble.within(Step::Field("value".into())));
    }
    if let Ok(text) = value.cast::<PyString>() {
        write_str(out, text)
    } else if let Ok(number) = value.cast::<PyInt>() {
        write_int(out, number)
    } else if let Ok(float) = value.cast::<PyFloat>() {
        write_float(out, float.value())
    } else if let Ok(dict) = value.cast::<PyDict>() {
        write_dict(out, dict, depth)
    } else if let Ok(list) = value.cast::<PyList>() {
        write_items(out, list.iter(), depth)
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        write_items(out, tuple.iter(), depth)
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        quote_hex(bytes.as_bytes(), out);
        Ok(())
    } else if let Ok(bytes) = value.cast::<PyByteArray>() {
        quote_hex(&bytes.to_vec(), out);
        Ok(())
    } else if value.is_instance_of::<PyMemoryView>() {
        let bytes = value.call_method0("tobytes")?;
        quote_hex(bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes(), out);
        Ok(())
    } else if let Ok(set) = value.cast::<PySet>() {
        write_items(out, set.iter(), depth)
    } else if let Ok(set) = value.cast::<PyFrozenSet>() {
        write_items(out, set.iter(), depth)
    } else if let Some(text) = known.text(value)? {
        write_isoformat(out, &text)
    } else if !value.is_instance_of::<PyType>() && value.hasattr("__dataclass_fields__")? {
        write_fields(out, value, &known.fields, depth)
    } else {
        Err(Trouble::of_type(format!("is of type {}; {ALLOWED}", type_name(value))))
    }
}

fn check_depth(depth: usize) -> Done {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    Err(Trouble::of_value(format!(
        "nests too deep, or an object contains itself; allowed: at most {MAX_DEPTH} levels"
    )))
}

/// What a library's own method made: a str, or of a subclass of its own perhaps something else.
fn write_isoformat(out: &mut String, text: &Bound<'_, PyAny>) -> Done {
    match text.cast::<PyString>() {
        Ok(text) => write_str(out, text),
        Err(_) => Err(Trouble::of_type(format!("gives {} where its text is asked for", type_name(text)))),
    }
}

pub(super) fn write_str(out: &mut String, text: &Bound<'_, PyString>) -> Done {
    quote(utf8(text)?, out, usize::MAX);
    Ok(())
}

/// The UTF-8 of a str, which one with lone surrogates has not.
pub(super) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str, Trouble> {
    text.to_str().map_err(|error| {
        if error.is_instance_of::<PyUnicodeEncodeError>(text.py()) {
            Trouble::of_value("has a lone surrogate, which UTF-8 can't carry")
        } else {
            error.into()
        }
    })
}

fn write_int(out: &mut String, number: &Bound<'_, PyInt>) -> Done {
    if let Ok(number) = number.extract::<i64>() {
        out.push_str(itoa::Buffer::new().format(number));
        return Ok(());
    }
    // Not `str(number)`: a subclass may print something else.
    let digits = number.py().get_type::<PyInt>().call_method1("__repr__", (number,));
    match digits {
        Ok(digits) => {
            out.push_str(utf8(digits.cast::<PyString>().map_err(PyErr::from)?)?);
            Ok(())
        }
        Err(_) => {
            Err(Trouble::of_value(format!("is an int too large; allowed: up to {MAX_INT_DIGITS} digits")))
        }
    }
}

fn write_float(out: &mut String, float: f64) -> Done {
    if !float.is_finite() {
        return Err(Trouble::of_value(format!("is {float}, which JSON has not; allowed: finite numbers")));
    }
    out.push_str(zmij::Buffer::new().format_finite(float));
    Ok(())
}

fn write_items<'py>(out: &mut String, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> Done {
    check_depth(depth)?;
    out.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_value(out, &item, depth + 1).map_err(|trouble| trouble.within(Step::Item(at)))?;
    }
    out.push(']');
    Ok(())
}

fn write_dict(out: &mut String, dict: &Bound<'_, PyDict>, depth: usize) -> Done {
    check_depth(depth)?;
    out.push('{');
    let (mut is_first, mut converted) = (true, false);
    for (key, value) in dict.iter() {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        if let Ok(key) = key.cast_exact::<PyString>() {
            write_str(out, key).map_err(|trouble| within_key(trouble, key))?;
        } else {
            converted = true;
            quote(&key_text(&key)?, out, usize::MAX);
        }
        out.push(':');
        write_value(out, &value, depth + 1).map_err(|trouble| within_key(trouble, &key))?;
    }
    out.push('}');
    if converted { check_keys(dict) } else { Ok(()) }
}

#[cold]
pub(super) fn within_key(trouble: Trouble, key: &Bound<'_, PyAny>) -> Trouble {
    trouble
        .within(Step::Key(key.str().map_or_else(|_| "?".into(), |text| text.to_string_lossy().into_owned())))
}

/// The text that stands for a key.
pub(super) fn key_text(key: &Bound<'_, PyAny>) -> Result<String, Trouble> {
    let known = Known::get(key.py())?;
    let value = if known.is_member(key)? { key.getattr("value")? } else { key.clone() };
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(utf8(text)?.to_owned());
    }
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        let mut digits = String::new();
        write_int(&mut digits, value.cast::<PyInt>().map_err(PyErr::from)?)?;
        return Ok(digits);
    }
    if let Some(text) = known.text(&value)? {
        return Ok(utf8(text.cast::<PyString>().map_err(PyErr::from)?)?.to_owned());
    }
    Err(Trouble::of_type(format!("has a key of type {}; {ALLOWED_KEYS}", type_name(key))))
}

/// Two keys that become the same text would be one member twice, of which readers see one.
pub(super) fn check_keys(dict: &Bound<'_, PyDict>) -> Done {
    let mut texts = std::collections::HashSet::new();
    for key in dict.keys() {
        let text = key_text(&key)?;
        if let Some(text) = texts.replace(text) {
            return Err(Trouble::of_value(format!("has two keys that both become {text:?}")));
        }
    }
    Ok(())
}

fn write_fields(out: &mut String, value: &Bound<'_, PyAny>, fields: &Py<PyAny>, depth: usize) -> Done {
    check_depth(depth)?;
    out.push('{');
    for (at, field) in fields.bind(value.py()).call1((value,))?.try_iter()?.enumerate() {
        let name = field?.getattr("name")?;
        let name = name.cast::<PyString>().map_err(PyErr::from)?;
        if at > 0 {
            out.push(',');
        }
        write_str(out, name)?;
        out.push(':');
        let inner = value.getattr(name)?;
        write_value(out, &inner, depth + 1)
            .map_err(|trouble| trouble.within(Step::Field(name.to_string_lossy().into_owned())))?;
    }
    out.push('}');
    Ok(())
}
