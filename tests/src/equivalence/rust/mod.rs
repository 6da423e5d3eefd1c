//! Workspaces of a few small crates, and changes of them.
//!
//! The last crate, `top`, takes the others by `--extern` and `-L`: `base`, another one that can
//! stand in its place, one between them, and in some workspaces a proc macro. They are compiled as
//! cargo would: each with its own call of rustc, in the order of their dependencies.

pub(super) mod flags;
mod mutate;
pub(super) mod project;
