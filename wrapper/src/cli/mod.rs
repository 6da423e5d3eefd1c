//! Command lines, one module per name that the binary answers to.

pub mod larder;
