//! Command lines, one module per name that the binary answers to, and what they need.

mod agent;
pub mod ccache;
pub mod command;
mod completions;
mod doctor;
mod explain;
pub mod flags;
mod holders;
mod housekeeping;
mod job;
pub mod json;
mod key;
pub mod larder;
mod man;
mod mask;
mod progress;
pub mod sccache;
mod shims;
mod stats;
pub mod style;
mod toolchain;
mod tools;
mod trim;
mod verify;
