//! Cargo workspaces, built by cargo alone, through larder, and through another wrapper of rustc:
//! what does it cost, and are all files the same?
//!
//! A workspace is copied, and every build has its target directory at the same path. So whatever
//! two builds of cargo alone make alike, a build through larder must make, too.

pub mod build;
pub mod report;
pub mod run;
pub mod settings;
