//! wip

pub mod auth;
