//! Power cuts on real file systems: a store is written to on a file system whose disk is recorded,
//! and checked on what the disk may have had after each moment of that.
//!
//! 1. The disk is a file of a FUSE file system of ours below a loop device ([`fuse`]), so every
//!    write and every flush of the kernel comes by in order ([`disk`]).
//! 2. Processes put, replace, remove, maintain and make checkpoints ([`worker`]), and note what
//!    they did and when ([`ledger`]).
//! 3. An image is what the disk has at a flush, or up to a flush with a random part of what was
//!    written after it ([`image`]). The kernel mounts it, with all that a file system does then,
//!    and a process opens the store and checks it ([`check`]).
//! 4. Some images are cut a second time: while the file system and the store recover, or later in
//!    that check.

pub mod check;
pub mod content;
pub mod disk;
pub mod env;
pub mod fuse;
pub mod image;
pub mod ledger;
pub mod load;
pub mod recording;
pub mod run;
pub mod settings;
pub mod summary;
pub mod volume;
pub mod worker;
