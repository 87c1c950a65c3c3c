//! The black-box suite: the binary through its command line, the servers through raw sockets.

mod access;
mod conformance;
mod hostile;
mod keep;
mod leaks;
mod limits;
mod mended;
mod run;
mod serve;
mod support;
