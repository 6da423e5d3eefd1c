//! What `larder convert` moves in a second, beside `tar` of the same tree: with everything in
//! memory, by the clock, and cold, by what is asked of a disk that `seeks` models.

pub mod cache;
pub mod carry;
pub mod run;
pub mod settings;

/// What went wrong.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
