//! The disk model: what larder and others ask a spinning disk for.
//!
//! docs/seeks.md says what is measured and what that cannot show. [`run`] has the order of things,
//! [`disk`] the private disk, [`trace`] the recorder of its requests, [`model`] what they cost.

pub mod build;
pub mod disk;
pub mod iolog;
pub mod model;
pub mod orders;
pub mod places;
pub mod plot;
pub mod run;
pub mod settings;
pub mod summary;
pub mod trace;
pub mod worker;
