//! What a call of rustc or clippy means, and what rustc writes down about a compile.
//!
//! Everything here works on texts alone: no file is looked at.

pub mod arguments;
pub mod checkout;
pub mod coded;
pub mod dep_info;
pub mod key;
mod options;
pub mod outputs;
pub mod snippets;
