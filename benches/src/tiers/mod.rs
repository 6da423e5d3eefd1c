//! Builds whose local store is empty and whose remote tier is full: larder, ccache and sccache with
//! the same servers.
//!
//! 1. Real C files, those of zstd that Cargo has fetched for this workspace, each compiled some
//!    times with another macro, two at a time.
//! 2. Every program fills the tier first. Then, in turn, each loses its local store and its helper
//!    processes, and builds: every unit must be a hit. Builds again: now from the local store. The
//!    first unit is built alone, because what a program starts for it is no cost of a unit.
//! 3. What the server heard is counted at the server: commands and connections.
//! 4. With `dead` a tier that nobody listens at stands before the real one.

pub mod run;
mod servers;
pub mod settings;
mod tools;

/// An error with a sentence.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
