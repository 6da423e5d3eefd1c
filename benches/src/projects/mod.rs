//! Known projects, built without a cache and through several: are all files the same, and what
//! does it cost?
//!
//! Each project is built in a tree that always stands at the same path, by compilers that always
//! stand at the same path: links to the real ones, to larder, or to another cache. So two builds
//! see the same command lines, and whatever a build without a cache makes the same twice, every
//! other build must make, too.

pub mod build;
pub mod catalogue;
pub mod compare;
pub mod run;
pub mod settings;
