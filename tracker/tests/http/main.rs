//! The tracker over real sockets on loopback: what is asked and answered, and what must not hurt it.

mod harness;
mod hostile;
mod server;
