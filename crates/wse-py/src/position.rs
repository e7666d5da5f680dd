//! A place in the messages of a topic, as Python sees it.

use std::hash::{Hash, Hasher};

use pyo3::exceptions::{PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};
use wse_core::history::{Epoch, Position as Place};

use wse_node::gate::{From, Wish};

use crate::arguments::{topic_without_pattern, type_name};

pyo3::create_exception!(
    wse_server._native,
    PublishTimeout,
    PyTimeoutError,
    "It is not known whether a message is stored: no answer came in time. It is published, and may be stored later."
);

/// The last message of a topic that somebody has: what a client goes on from when it comes back.
///
/// It unpacks: `epoch, offset = position`.
///
/// Args:
///     epoch: Eight hexadecimal digits in lower case. They name the memory that counts the messages; another epoch counts anew.
///     offset: The number of the message in its topic, counted from 1; 0 before the first.
///     copies: On how many nodes the message is stored, at most 255, where that is known.
///
/// Raises:
///     ValueError: The epoch is none, or the offset negative or not below 2**64.
///     OverflowError: The copies are negative or too many.
#[pyclass(module = "wse_server._native", frozen, eq, hash)]
pub(crate) struct Position {
    pub(crate) place: Place,
    /// On how many nodes the message is, where that was asked for.
    copies: Option<u8>,
}

impl Position {
    pub(crate) fn at(place: Place) -> Self {
        Self { place, copies: None }
    }

    pub(crate) fn stored(place: Place, copies: u8) -> Self {
        Self { place, copies: Some(copies) }
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Hash for Position {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

#[pymethods]
impl Position {
    #[new]
    #[pyo3(signature = (epoch, offset, copies=None))]
    fn new(epoch: &str, offset: &Bound<'_, PyAny>, copies: Option<u8>) -> PyResult<Self> {
        Ok(Self { place: place("", epoch, offset)?, copies })
    }

    /// Names the memory that counts the messages: eight hexadecimal digits.
    #[getter]
    fn epoch(&self) -> String {
        self.place.epoch.to_string()
    }

    /// The number of the message in its topic.
    #[getter]
    fn offset(&self) -> u64 {
        self.place.offset
    }

    /// On how many nodes the message is stored, if it was published with wait="stored" in a cluster; else None. It plays no part in comparisons.
    #[getter]
    fn copies(&self) -> Option<u8> {
        self.copies
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyTuple::new(
            py,
            [self.epoch().into_pyobject(py)?.into_any(), self.place.offset.into_pyobject(py)?.into_any()],
        )?
        .try_iter()
    }

    fn __repr__(&self) -> String {
        format!("Position(epoch='{}', offset={})", self.place.epoch, self.place.offset)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let arguments = (self.epoch(), self.place.offset, self.copies).into_pyobject(py)?;
        (py.get_type::<Self>(), arguments).into_pyobject(py)
    }
}

/// Checks an epoch and an offset; `before` is put before their names in an error.
fn place(before: &str, epoch: &str, offset: &Bound<'_, PyAny>) -> PyResult<Place> {
    let epoch = Epoch::parse(epoch).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{before}epoch must be eight hexadecimal digits in lower case, got {epoch:?}"
        ))
    })?;
    let offset = offset.extract::<u64>().map_err(|_| {
        PyValueError::new_err(format!(
            "{before}offset must be an integer from 0 to 2**64 - 1, got {}",
            offset.repr().map_or_else(|_| type_name(offset), |text| text.to_string())
        ))
    })?;
    Ok(Place { epoch, offset })
}

/// Where the topics of a recovery are to begin.
pub(crate) struct Positions(Starts);

enum Starts {
    /// No topic is recovered.
    None,
    All(Place),
    Each(std::collections::HashMap<String, Place>),
}

impl Positions {
    /// Reads the arguments of `subscribe_with_recovery`.
    pub(crate) fn read(
        recover: bool,
        epoch: Option<&str>,
        offset: Option<&Bound<'_, PyAny>>,
        positions: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let starts = match (positions, epoch, offset) {
            (None, None, None) => Starts::None,
            (None, Some(epoch), Some(offset)) => Starts::All(place("", epoch, offset)?),
            (Some(positions), None, None) => Starts::Each(each(positions)?),
            (Some(_), ..) => {
                return Err(PyValueError::new_err(
                    "positions exclude epoch and offset: give one or the other",
                ));
            }
            (None, ..) => {
                return Err(PyValueError::new_err("epoch and offset belong together: give both or none"));
            }
        };
        Ok(Self(if recover { starts } else { Starts::None }))
    }

    /// What is wanted of one topic.
    pub(crate) fn wish<'a>(&self, topic: &'a str) -> PyResult<Wish<'a>> {
        let filter = topic_without_pattern(topic)?;
        let start = match &self.0 {
            Starts::None => None,
            Starts::All(place) => Some(*place),
            Starts::Each(places) => places.get(topic).copied(),
        };
        Ok(Wish { filter, from: start.map_or(From::Here, From::Position), presence: None, group: None })
    }
}

fn each(positions: &Bound<'_, PyAny>) -> PyResult<std::collections::HashMap<String, Place>> {
    let wrong = |what: String| {
        PyTypeError::new_err(format!("positions must be a dict of topics to (epoch, offset), {what}"))
    };
    let dict = positions.cast::<PyDict>().map_err(|_| wrong(format!("not {}", type_name(positions))))?;
    let mut out = std::collections::HashMap::new();
    for (topic, position) in dict {
        let name = topic
            .cast::<PyString>()
            .map_err(|_| wrong(format!("and one of its keys is {}", type_name(&topic))))?
            .to_str()?
            .to_owned();
        let place = match position.cast::<Position>() {
            Ok(position) => position.get().place,
            Err(_) => {
                let (epoch, offset): (Bound<'_, PyAny>, Bound<'_, PyAny>) = position
                    .extract()
                    .map_err(|_| wrong(format!("and that of {name:?} is {}", type_name(&position))))?;
                let epoch = epoch
                    .cast::<PyString>()
                    .map_err(|_| wrong(format!("and the epoch of {name:?} is {}", type_name(&epoch))))?;
                place(&format!("positions[{name:?}] "), epoch.to_str()?, &offset)?
            }
        };
        out.insert(name, place);
    }
    Ok(out)
}
