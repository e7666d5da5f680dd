//! The client vocabulary: what is said in JSON, and the codes of errors and closes.

pub mod category;
pub mod codes;
pub mod command;
pub mod presence;
pub mod quote;
pub mod scan;
pub mod stamp;
pub mod time;
pub mod words;

#[cfg(test)]
mod vectors;
