#![no_main]

#[path = "../replay.rs"]
#[allow(dead_code)]
mod replay;
#[path = "../replay_native.rs"]
#[allow(dead_code)]
mod replay_native;

libfuzzer_sys::fuzz_target!(|wire: &[u8]| replay_native::check_native_answer(wire));
