//! The fuzz target `export` of `larder_tests::fuzz`, under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_tests::fuzz::run("export", bytes));
