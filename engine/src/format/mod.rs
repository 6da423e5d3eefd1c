//! Every byte that reaches disk, and nothing else: pure encoders and decoders without I/O.
//!
//! 1. docs/format.md is the normative text; it stores a hash of this folder, and a test compares.
//! 2. A decoder answers `None` (or `Corrupt`) for anything but a valid structure and never panics.
//! 3. Only this folder knows an offset; offsets are sums of the fields before, asserted in size.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)
)]

pub mod body;
pub mod frame;
pub mod index;
pub mod portable;
pub mod segment;
pub mod signed;
pub mod superblock;
pub mod tail;

/// Version of the format. Until 0.1.0 is tagged it may change without a step here.
pub const FORMAT_VERSION: u16 = 1;
