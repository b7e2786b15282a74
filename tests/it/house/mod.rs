//! The shape of the source, the manual and the README.

mod actions;
pub(crate) mod hex_case;
mod layering;
mod manual;
mod readme;
mod rows;
