#![no_main]

#[path = "../replay.rs"]
#[allow(dead_code)]
mod replay;

libfuzzer_sys::fuzz_target!(|wire: &[u8]| replay::check_answer(wire));
