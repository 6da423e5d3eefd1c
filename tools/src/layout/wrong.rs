//! What is wrong with bytes that were to be something.

use std::fmt;

use larder::ccache_entry::Wrong as WrongContainer;

/// What is wrong with an entry, as a sentence without a full stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<WrongContainer> for Wrong {
    fn from(wrong: WrongContainer) -> Wrong {
        Wrong(wrong.to_string())
    }
}

/// An error with these words.
pub fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(what.into()))
}
