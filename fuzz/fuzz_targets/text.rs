#![no_main]

#[path = "../../tests/corpus/text.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
