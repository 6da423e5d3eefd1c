//! Serving other tools out of a store, one file per protocol.

pub mod crsh;
