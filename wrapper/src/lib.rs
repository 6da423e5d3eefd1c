//! The compiler wrapper of larder.

pub mod compiler;
pub mod depfile;
pub mod exec;
pub mod outcome;
