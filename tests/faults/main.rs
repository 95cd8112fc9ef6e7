//! What the world does to a transfer: kills, full disks, files that change under a seeder, interfaces that go.

mod disk;
mod interface;
mod kill;
