//! `cargo xtask soak`: whether `max_size` holds while processes write as fast as they can.

use crate::process::Outcome;

/// What the list of commands says of it.
pub const USAGE: &str = "  \
  soak [OPTION...]           write to a small store on ext4, XFS and btrfs for minutes (as root),
                             look at its disk blocks all the time, and tell how long puts took
                               --seconds N --fs LIST --rate full|half --clones
                               --max-size BYTES --janitor detached|inline|off
                               --json            print the table as JSON
                               --help            the other options
";

/// Runs it with these arguments; the answer is whether the bound held and nothing was wrong.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    crate::below_target("soak", arguments)
}
