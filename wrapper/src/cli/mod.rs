//! Command lines, one module per name that the binary answers to, and what they need.

pub mod ccache;
mod command;
mod doctor;
mod holders;
mod job;
mod json;
pub mod larder;
mod progress;
mod trim;
mod verify;
