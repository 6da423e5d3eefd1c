//! The bytes of a section that is to be stored: in memory, or of somebody who says whether they
//! were all there.
//!
//! A large output is encoded from where the kernel has it: to read it would take a page of memory
//! for each of its pages. Whoever maps a file says that nobody writes it any more, as the outputs
//! of a compiler that has ended. One that is cut short all the same is seen as zeros, and an entry
//! that was made of these is refused.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that may turn out not to have been there.
pub trait Lent: Debug + Send + Sync {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// Whether all that was seen of them was there.
    fn is_whole(&self) -> bool;
}

/// The bytes of a section that is to be stored; they are seen as a slice.
#[derive(Clone, Debug)]
pub struct Data<'a>(Kind<'a>);

#[derive(Clone, Debug)]
enum Kind<'a> {
    Memory(Cow<'a, [u8]>),
    Lent(Arc<dyn Lent>),
}

impl Data<'static> {
    /// Those of somebody else, as a map of a file.
    pub fn lent(bytes: impl Lent + 'static) -> Self {
        Data(Kind::Lent(Arc::new(bytes)))
    }
}

impl Data<'_> {
    /// Whether all that was seen of the bytes was there.
    pub fn is_whole(&self) -> bool {
        match &self.0 {
            Kind::Memory(_) => true,
            Kind::Lent(lent) => lent.is_whole(),
        }
    }
}

impl Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Memory(bytes) => bytes,
            Kind::Lent(lent) => lent.bytes(),
        }
    }
}

impl AsRef<[u8]> for Data<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<'a, T: Into<Cow<'a, [u8]>>> From<T> for Data<'a> {
    fn from(bytes: T) -> Self {
        Data(Kind::Memory(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_are_whole() {
        assert_eq!(*Data::from(&b"abc"[..]), *b"abc");
        assert_eq!(*Data::from(vec![1, 2]), [1, 2]);
        assert!(Data::from(vec![1, 2]).is_whole());
    }
}
