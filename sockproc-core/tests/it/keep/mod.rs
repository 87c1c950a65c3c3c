//! What the C daemon does, and users rely on: it passes these tests too (`SOCKPROC_TEST_BINARY`).

mod answer;
mod command;
mod command_line;
mod life_cycle;
mod parallel;
mod recorded;
mod request;
mod users;
