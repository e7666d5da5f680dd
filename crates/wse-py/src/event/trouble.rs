//! What of an event has no JSON form, and where it is.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// What went wrong. The way to it is written down on the way out, so that an event that is right pays nothing for it.
pub(super) enum Trouble {
    /// Something of a type that JSON has no form for.
    Type(String, Vec<Step>),
    /// Something of a right type with a value that JSON has no form for.
    Value(String, Vec<Step>),
    /// What Python said, such as the error of a property.
    Python(PyErr),
}

/// One step on the way from the event to a value.
pub(super) enum Step {
    Key(String),
    Item(usize),
    Field(String),
}

impl Trouble {
    pub(super) fn of_type(message: impl Into<String>) -> Self {
        Self::Type(message.into(), Vec::new())
    }

    pub(super) fn of_value(message: impl Into<String>) -> Self {
        Self::Value(message.into(), Vec::new())
    }

    /// The same one level further out.
    #[cold]
    pub(super) fn within(mut self, step: Step) -> Self {
        match &mut self {
            Self::Type(_, steps) | Self::Value(_, steps) => steps.push(step),
            Self::Python(_) => {}
        }
        self
    }
}

impl From<PyErr> for Trouble {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Trouble> for PyErr {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Type(message, steps) => PyTypeError::new_err(format!("{}{message}", path(&steps))),
            Trouble::Value(message, steps) => PyValueError::new_err(format!("{}{message}", path(&steps))),
            Trouble::Python(error) => error,
        }
    }
}

/// `event["p"]["prices"][0].amount`, from the innermost step to the outermost.
fn path(steps: &[Step]) -> String {
    let mut path = String::from("event");
    for step in steps.iter().rev() {
        path.push_str(&match step {
            Step::Key(key) => format!("[{:?}]", key.chars().take(80).collect::<String>()),
            Step::Item(index) => format!("[{index}]"),
            Step::Field(name) => format!(".{name}"),
        });
    }
    path.push(' ');
    path
}
