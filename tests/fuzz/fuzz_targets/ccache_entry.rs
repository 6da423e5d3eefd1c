//! The fuzz target `ccache_entry` of `larder_tests::fuzz`, under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_tests::fuzz::run("ccache_entry", bytes));
