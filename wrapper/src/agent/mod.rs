//! The agent: the one process that speaks with the remote tiers, for all wrappers of a user, a
//! store and its tiers.
//!
//! 1. A wrapper that has missed in the local store asks the agent by a private socket ([`place`]);
//!    where none listens it starts `larder-agent`, which leaves again when nobody needs it. A local
//!    hit knows nothing of all this.
//! 2. The agent asks the tiers in their order ([`chain`]), checks what it gets, and puts it into
//!    the local store, where the wrapper reads it. No artifact crosses the socket.
//! 3. What wrappers store is written behind ([`uploads`]): the log of the store is the queue, and
//!    what is known of a tier ([`state`]) has how far that came.
//! 4. Where no agent can live, the wrapper lets the same program fetch one record and end.
//!
//! The clients of tiers and everything that calls them need the feature `agent`, and are no part of
//! the wrapper's binary.

#[cfg(feature = "agent")]
pub mod carry;
#[cfg(feature = "agent")]
mod chain;
mod client;
mod place;
#[cfg(feature = "agent")]
mod pool;
mod protocol;
#[cfg(feature = "agent")]
mod serve;
#[cfg(feature = "agent")]
mod signing;
mod state;
#[cfg(feature = "agent")]
mod uploads;

pub use client::{Client, Launch};
pub use protocol::{Reply, Request};
#[cfg(feature = "agent")]
pub use serve::main;
pub use state::{Count, Side, TierState, now_ms};

/// The name of the agent's program.
pub const PROGRAM: &str = "larder-agent";
