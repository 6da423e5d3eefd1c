//! Command lines, one module per name that the binary answers to, and what they need.

mod agent;
pub mod ccache;
mod command;
mod completions;
mod doctor;
mod explain;
mod flags;
mod holders;
mod housekeeping;
mod job;
mod json;
mod key;
pub mod larder;
mod man;
mod mask;
mod progress;
pub mod sccache;
mod shims;
mod stats;
mod style;
mod toolchain;
mod trim;
mod verify;
