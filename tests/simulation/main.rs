//! Swarms of the real core in virtual time. What a run must never do is checked at every step (`harness::sim::check`); these tests
//! say what it must come to.

mod attack;
mod behaviours;
mod chaos;
mod churn;
mod crowd;
mod dht;
mod experiments;
mod pair;
mod replay;
