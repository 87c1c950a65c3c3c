//! The black-box suite: the binary through its command line, the servers through raw sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod architecture;
mod background;
mod cgroups;
mod conformance;
mod disconnect;
mod ending;
mod flood;
mod held_up;
mod hostile;
mod hung_disk;
mod hung_start;
mod keep;
mod killed_server;
mod leaks;
mod limits;
mod mended;
mod native;
mod native_example;
mod native_strain;
mod options;
mod pid_1;
mod pressure;
mod queue;
mod replies;
mod run;
mod serve;
mod spill;
mod strange_places;
mod strangers;
mod support;
mod token;
mod tree;
mod without_close_range;
