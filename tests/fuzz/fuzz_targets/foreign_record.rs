//! The fuzz target `foreign_record` of `larder_tests::fuzz`, under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder_tests::fuzz::run("foreign_record", bytes));
