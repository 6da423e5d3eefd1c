//! Command lines, one module per name that the binary answers to, and what they need.

mod command;
mod doctor;
mod explain;
mod flags;
mod holders;
mod job;
mod json;
pub mod larder;
mod progress;
mod stats;
mod style;
mod trim;
mod verify;
