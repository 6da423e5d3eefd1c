//! The compiler wrapper on the larder store; the binary `larder` is a call of [`cli::larder::main`].
//!
//! Data flows one way: [`cli`] dispatches, [`invocation`] handles one compile with the help of
//! [`fingerprint`] (keys), [`manifest`] (what was read before), [`capture`] and [`restore`]
//! (outputs in and out), [`identity`] (which compiler), and [`compiler`] (what arguments mean).

#![deny(missing_docs)]

pub mod cli;
pub mod config;
pub mod digest;
#[allow(dead_code)]
mod engine;
pub mod log;
pub mod manifest;
pub mod outcome;
pub mod compiler;
pub mod fingerprint;
pub mod moment;
