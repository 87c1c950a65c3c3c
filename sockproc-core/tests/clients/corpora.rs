//! The fuzz targets' corpora, replayed without a fuzzer.

use std::fs;
use std::path::PathBuf;

use super::replay::{check_answer, check_request};
use super::replay_native::{check_native_answer, check_native_request};

/// Checks every file of a target's corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let corpora = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut count = 0;
    for file in fs::read_dir(corpora.join(target)).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 25, "only {count} files for {target}");
}

#[test]
fn whatever_the_fuzzer_found_means_the_same_to_a_client_wherever_it_is_cut() {
    replay("client_answer", check_answer);
}

#[test]
fn whatever_the_fuzzer_found_means_the_same_to_a_server_wherever_it_is_cut() {
    replay("server_request", check_request);
}

#[test]
fn frames_that_the_fuzzer_found_mean_the_same_to_a_client_wherever_they_are_cut() {
    replay("native_answer", check_native_answer);
}

#[test]
fn frames_that_the_fuzzer_found_mean_the_same_to_a_server_wherever_they_are_cut() {
    replay("native_request", check_native_request);
}
