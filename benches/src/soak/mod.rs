//! The soak: writers, readers and janitors on one small store for minutes, on file systems of its
//! own, while somebody looks at what `du` says.
//!
//! 1. Each file system is made on a sparse file below a loop device, in a mount namespace of this
//!    run: when its last process dies, the kernel unmounts what is left ([`volume`]).
//! 2. A writer does what a compile does: opens the store, puts a manifest and a result, starts a
//!    janitor if upkeep is due and nobody is at it, ends ([`worker`]). It notes how long that took
//!    ([`latency`]).
//! 3. A reader asks for records of all ages, some of them much more often than others, and compares
//!    every byte. With `--clones` it restores them to files of a build tree.
//! 4. Blocks of all files of the store are counted four times a second, against `max_size`
//!    ([`run`]).
//! 5. At half rate the writers together put half the bytes per second that the disk takes, which is
//!    measured first.

pub mod latency;
pub mod run;
pub mod settings;
pub mod volume;
pub mod worker;
