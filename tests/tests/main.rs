//! The one integration binary. Each part of larder has a folder of tests here, named by behaviour;
//! a regression test opens with the story of its bug.

mod disks;
mod engine;
mod tidy;
mod tiers;
mod tools;
mod wrapper;
