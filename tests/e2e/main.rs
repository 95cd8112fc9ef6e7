//! The whole job with real processes and real sockets on loopback, told by what a user or a script sees.

mod commands;
mod corrupt;
mod demo;
mod dht;
mod existing;
mod ipv6;
mod json;
mod limits;
mod magnet;
mod port_map;
mod proxy;
mod select;
mod share;
mod sources;
mod stay;
mod stop;
mod swarm;
mod trackers;
mod versions;
