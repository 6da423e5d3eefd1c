//! What a link reads: from the words of its command line, and from what its linker writes down.
//!
//! 1. [`words`]: which words for the linker are known to read nothing and write nothing else.
//! 2. [`call`]: what a driver's command line says of a link of C or C++.
//! 3. [`archive`]: the same for `ar`.
//! 4. [`command`]: command lines as rustc and compiler drivers print them.
//! 5. [`search`]: names that the linker looked for in vain.
//! 6. [`variables`]: the environment of drivers and linkers.

pub mod archive;
pub mod call;
pub mod command;
pub mod search;
pub mod variables;
pub mod words;
