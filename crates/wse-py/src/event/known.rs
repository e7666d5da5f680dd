//! Types of Python's library that have a form in JSON.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Looked up once in a process.
pub(super) struct Known {
    pub(super) datetime: Py<PyType>,
    pub(super) date: Py<PyType>,
    pub(super) time: Py<PyType>,
    pub(super) uuid: Py<PyType>,
    pub(super) decimal: Py<PyType>,
    pub(super) member: Py<PyType>,
    /// `dataclasses.fields`.
    pub(super) fields: Py<PyAny>,
}

impl Known {
    pub(super) fn get(py: Python<'_>) -> PyResult<&Self> {
        static KNOWN: PyOnceLock<Known> = PyOnceLock::new();
        KNOWN.get_or_try_init(py, || {
            let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
                Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
            };
            Ok(Self {
                datetime: class("datetime", "datetime")?,
                date: class("datetime", "date")?,
                time: class("datetime", "time")?,
                uuid: class("uuid", "UUID")?,
                decimal: class("decimal", "Decimal")?,
                member: class("enum", "Enum")?,
                fields: py.import("dataclasses")?.getattr("fields")?.unbind(),
            })
        })
    }

    /// Whether a value is a member of an enumeration, which stands for its `value`.
    pub(super) fn is_member(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        value.is_instance(self.member.bind(value.py()))
    }

    /// The text that stands for a date, a time, a UUID or a decimal number.
    pub(super) fn text<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        // A datetime is a date too.
        if value.is_instance(self.date.bind(py))? || value.is_instance(self.time.bind(py))? {
            return value.call_method0("isoformat").map(Some);
        }
        if value.is_instance(self.uuid.bind(py))? || value.is_instance(self.decimal.bind(py))? {
            return Ok(Some(value.str()?.into_any()));
        }
        Ok(None)
    }

    /// The same for values whose type is exactly one of the four most common ones, found without asking for the bases of any.
    #[inline]
    pub(super) fn text_of_exact<'py>(
        &self,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let class = value.get_type_ptr();
        let is = |known: &Py<PyType>| known.as_ptr().cast() == class;
        if is(&self.datetime) {
            return value.call_method0(pyo3::intern!(value.py(), "isoformat")).map(Some);
        }
        if is(&self.uuid) || is(&self.decimal) {
            return Ok(Some(value.str()?.into_any()));
        }
        Ok(None)
    }
}
