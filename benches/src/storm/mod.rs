//! A storm: many processes write, read and maintain one store while others kill and stop them.
//!
//! 1. What is stored is a function of seed, writer and number ([`content`]), so whoever reads a
//!    record can tell every wrong byte, and the storm can be had again with the same load (not
//!    with the same interleaving).
//! 2. A writer acknowledges a put through a pipe after it returned; what was acknowledged is
//!    published to the readers ([`board`]) and must be found from then on, with its sequence
//!    number.
//! 3. Signals come at random times, and *aimed*: a worker that is about to write to the store says
//!    so and waits to be killed or stopped right there, with the locks that it holds ([`watch`]).
//! 4. The waits for locks are measured by the process that waits, without the time that it was
//!    ready to run and had no processor, which the kernel counts.

pub mod board;
pub mod check;
pub mod conductor;
pub mod content;
pub mod ledger;
pub mod message;
pub mod settings;
pub mod spawn;
pub mod summary;
pub mod watch;
pub mod worker;

/// A lock wait longer than this is a failure, in microseconds: the 50 ms after which the engine
/// gives up, and what its pauses (0.5 ms), its clock (1 ms) and this measurement add.
pub const LOCK_WAIT_US_MAX: u64 = 60_000;

/// A store where nobody commits for so long has a lock that is stuck, in milliseconds: such a lock
/// is stuck for ever, while stops last half a second, and a busy disk keeps a put for up to ten.
pub const SILENCE_MS_MAX: u64 = 20_000;
