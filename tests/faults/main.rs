//! What the world does to a transfer: kills, full disks, files that change under a seeder.

mod disk;
mod kill;
