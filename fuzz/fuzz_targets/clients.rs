#![no_main]

#[path = "../../tests/corpus/clients.rs"]
mod clients;
#[path = "../../tests/corpus/exchange.rs"]
mod exchange;

libfuzzer_sys::fuzz_target!(|data: &[u8]| clients::run(data));
