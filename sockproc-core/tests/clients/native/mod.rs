//! Both sides of the native protocol: on paper, cut anywhere, and back to back.

mod command;
mod conversations;
mod example;
mod plan;
mod requests;
mod values;
mod vectors;
mod wire;
mod world;
