//! What a link reads: from the words of its command line, and from what its linker writes down.
//!
//! 1. [`words`]: which words for the linker are known to read nothing and write nothing else.
//! 2. [`command`]: command lines as rustc and compiler drivers print them.
//! 3. [`search`]: names that the linker looked for in vain.

pub mod command;
pub mod search;
pub mod words;
