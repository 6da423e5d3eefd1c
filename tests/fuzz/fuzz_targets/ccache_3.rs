//! The fuzz target `ccache_3` of `larder_tests::fuzz`, under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_tests::fuzz::run("ccache_3", bytes));
