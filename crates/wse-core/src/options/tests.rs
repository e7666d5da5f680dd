//! The rules, each with what it must refuse.

use super::*;
