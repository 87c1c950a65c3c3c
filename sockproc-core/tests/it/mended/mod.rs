//! Where the C daemon fails or does harm, and what happens instead.

mod daemon;
mod request;
mod streams;
mod succession;
mod vanished;
