//! Variables of drivers and linkers.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Those that count, by their beginnings.
const STARTS: [&str; 9] =
    ["LD_", "LLD_", "MOLD_", "GCC_", "COLLECT_", "LTO_", "CLANG_", "BINUTILS_", "GOLD_"];
/// And by their names.
const NAMES: [&str; 6] =
    ["COMPILER_PATH", "GNUTARGET", "LDEMULATION", "LIBRARY_PATH", "SDKROOT", "SOURCE_DATE_EPOCH"];
/// Variables that make a linker write more.
const UNSUPPORTED: [&str; 3] = ["LD_DEBUG", "LLD_REPRODUCE", "MOLD_REPRO"];
/// Variables of the loader.
pub const OF_LOADER: [&str; 2] = ["LD_LIBRARY_PATH", "LD_PRELOAD"];

/// A variable that is set and with which no link is cached.
pub fn unsupported() -> Option<&'static str> {
    UNSUPPORTED.into_iter().find(|name| env::var_os(name).is_some())
}

/// Names and values of variables that count where something is linked, without those of the loader.
pub fn set() -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let counts = |name: &OsStr| {
        let bytes = name.as_bytes();
        (STARTS.iter().any(|start| bytes.starts_with(start.as_bytes()))
            || NAMES.iter().any(|known| name == *known))
            && !OF_LOADER.iter().any(|other| name == *other)
    };
    let found = env::vars_os().filter(move |(name, _)| counts(name));
    found.map(|(name, value)| (name.into_vec(), Some(value.into_vec())))
}
