//! A whole tracker on loopback: UDP beside HTTP, who is served, what is kept, and what an operator sees.

mod access;
mod harness;
mod operation;
mod store;
mod udp;
