//! Reading big-endian numbers and runs of bytes; whatever is not there is an error.

use super::{Checked, Wrong};

/// Bytes, and how far they have been read.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many have not.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// So many bytes.
    pub fn take(&mut self, count: u64) -> Checked<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| Wrong::new("the entry is cut short"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Checked<[u8; COUNT]> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT as u64)?);
        Ok(array)
    }

    /// A byte.
    pub fn u8(&mut self) -> Checked<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Checked<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Eight bytes with a sign.
    pub fn i64(&mut self) -> Checked<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Twenty bytes of a digest.
    pub fn digest(&mut self) -> Checked<[u8; 20]> {
        self.array()
    }

    /// A number of things, each of which takes at least `bytes_min` bytes.
    pub fn count(&mut self, bytes_min: u64) -> Checked<u32> {
        let count = self.u32()?;
        match u64::from(count) * bytes_min <= self.left() as u64 {
            true => Ok(count),
            false => Err(Wrong::new("the entry counts more than it holds")),
        }
    }

    /// A length in one byte, and so many bytes.
    pub fn short_text(&mut self) -> Checked<Vec<u8>> {
        let count = self.u8()?;
        Ok(self.take(u64::from(count))?.to_vec())
    }

    /// Makes sure that nothing is left.
    pub fn end(&self) -> Checked<()> {
        match self.left() {
            0 => Ok(()),
            more => Err(Wrong::new(format!("the entry has {more} bytes too many"))),
        }
    }
}
