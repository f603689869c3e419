#![no_main]

#[path = "../../tests/corpus/procfs.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
