//! Other programs that use a store as theirs.

mod crsh;
