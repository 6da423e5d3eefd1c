//! The compiler wrapper on the larder store; the binary `larder` is a call of
//! [`cli::larder::main`].
//!
//! Data flows one way: [`cli`] dispatches, [`invocation`] handles one compile with the help of
//! [`identity`] (which compiler), [`compiler`] (what arguments mean), [`fingerprint`] and
//! [`moment`] (keys), [`manifest`] (what was read before), [`search`] and [`absent`] (what was
//! looked for in vain), [`capture`] and [`restore`] (outputs in and out), [`digest`] (contents of
//! files), [`account`] (why a call was no hit), [`exec`] and [`depfile`] (the real compiler and
//! what it reports). [`tier`] has the remote places that results come from and go to.

#![deny(missing_docs)]

pub mod cli;
pub mod invocation;

pub mod absent;
pub mod account;
pub mod agent;
pub mod capture;
pub mod compiler;
pub mod fingerprint;
pub mod identity;
pub mod link;
pub mod manifest;
pub mod moment;
pub mod restore;
pub mod search;

pub mod calendar;
pub mod ccache_entry;
pub mod config;
pub mod depfile;
pub mod digest;
pub mod disguise;
pub mod exec;
pub mod files;
pub mod keys;
pub mod lock;
pub mod log;
pub mod maps;
pub mod outcome;
pub mod place;
pub mod rust;
pub mod stats;
pub mod store;
pub mod tier;
pub mod trace;
