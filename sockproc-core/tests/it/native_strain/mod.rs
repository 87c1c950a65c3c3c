//! What the native protocol must stand: bad input, sudden ends, clients and commands that stand still, and
//! many bytes. The other runs of the server notice nothing of it.

mod bad_frames;
mod bad_requests;
mod bystanders;
mod cut_anywhere;
mod descriptors;
mod killed;
mod random_sizes;
mod stalled;
mod wire;

/// How often to do it: `count` times, or as often as `SOCKPROC_TEST_RUNS` says.
fn runs(count: usize) -> usize {
    let told = std::env::var("SOCKPROC_TEST_RUNS");
    told.map_or(count, |runs| runs.parse().unwrap())
}
