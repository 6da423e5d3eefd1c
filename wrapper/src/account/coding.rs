//! Accounts as bytes.
//!
//! Little-endian; `text` is a `u32` length and so many bytes, `[x]` a `u32` count and so many of x:
//!
//! ```text
//! account  = "LA" version:u8 flags:u8 at_ns:u64 outcome:u16 cost_us:u32 hits_before:u64
//!            [key:32] [key:32] obstacle:u8 text text(reason) text(source) text(directory)
//!            text(compiler) [row] [text] [part] [text]
//! row      = text [text]
//! part     = digest:8 text
//! ```
//!
//! The lists of keys have one or none. The decoder trusts nothing: each length is checked against
//! what is left, and no count allocates by itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use larder_engine::Key;

use super::{Account, Differs, Obstacle, Part, row_digest};
use crate::fingerprint::Row;

const MAGIC: &[u8; 2] = b"LA";
const VERSION: u8 = 1;
const FLAG_CUT: u8 = 1;
/// A sentence longer than this says no more.
const REASON_BYTES_MAX: usize = 400;
/// A row shorter than this is not worth a cut.
const CUT_ROW_BYTES_MIN: usize = 64;

impl Account {
    /// The account in at most `bytes_max` bytes; what is long is cut until it fits. `None` if that
    /// is not possible.
    pub fn encode(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let bytes = self.encode_whole();
        if bytes.len() <= bytes_max {
            return Some(bytes);
        }
        let mut cut = self.clone();
        cut.is_cut = true;
        cut.reason.truncate(cut.reason.floor_char_boundary(REASON_BYTES_MAX));
        cut.parts.clear();
        let excess = cut.encode_whole().len().saturating_sub(bytes_max);
        cut.cut_words(excess);
        while cut.encode_whole().len() > bytes_max {
            cut.cut_longest_row()?;
        }
        Some(cut.encode_whole())
    }

    /// The last words go.
    fn cut_words(&mut self, excess_bytes: usize) {
        let mut freed = 0;
        while freed < excess_bytes
            && let Some(word) = self.words.pop()
        {
            freed += 4 + word.len();
        }
    }

    fn cut_longest_row(&mut self) -> Option<()> {
        let bytes = |row: &Row| row.fields.iter().map(|field| 4 + field.len()).sum::<usize>();
        let row = self.rows.iter_mut().max_by_key(|row| bytes(row))?;
        if bytes(row) < CUT_ROW_BYTES_MIN {
            return None;
        }
        row.fields = vec![row_digest(row)];
        self.cut_rows.push(row.name.clone());
        Some(())
    }

    fn encode_whole(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(1024));
        out.0.extend_from_slice(MAGIC);
        out.0.extend([VERSION, if self.is_cut { FLAG_CUT } else { 0 }]);
        out.0.extend(self.at_ns.to_le_bytes());
        out.0.extend(self.outcome.to_le_bytes());
        out.0.extend(self.cost_us.to_le_bytes());
        out.0.extend(self.hits_before.to_le_bytes());
        for key in [&self.direct, &self.result] {
            out.count(usize::from(key.is_some()));
            key.iter().for_each(|key| out.0.extend(key.as_bytes()));
        }
        let (kind, text) = self.obstacle.encode();
        out.0.push(kind);
        out.text(&text);
        out.text(self.reason.as_bytes());
        for path in [&self.source, &self.directory, &self.compiler] {
            out.text(path.as_os_str().as_bytes());
        }
        out.count(self.rows.len());
        for row in &self.rows {
            out.text(row.name.as_bytes());
            out.count(row.fields.len());
            row.fields.iter().for_each(|field| out.text(field));
        }
        out.count(self.cut_rows.len());
        self.cut_rows.iter().for_each(|name| out.text(name.as_bytes()));
        out.count(self.parts.len());
        for part in &self.parts {
            out.0.extend(part.digest);
            out.text(part.path.as_os_str().as_bytes());
        }
        out.count(self.words.len());
        self.words.iter().for_each(|word| out.text(word.as_bytes()));
        out.0
    }

    /// The inverse of [`Account::encode`]; `None` if the bytes are no account.
    pub fn decode(bytes: &[u8]) -> Option<Account> {
        let mut reader = Reader(bytes);
        if reader.bytes(2)? != MAGIC || reader.bytes(1)? != [VERSION] {
            return None;
        }
        let is_cut = reader.bytes(1)?[0] & FLAG_CUT != 0;
        let at_ns = u64::from_le_bytes(reader.array()?);
        let outcome = u16::from_le_bytes(reader.array()?);
        let cost_us = u32::from_le_bytes(reader.array()?);
        let hits_before = u64::from_le_bytes(reader.array()?);
        let direct = reader.list(32, |r| r.array().map(Key::from_bytes))?.into_iter().next();
        let result = reader.list(32, |r| r.array().map(Key::from_bytes))?.into_iter().next();
        let kind = reader.bytes(1)?[0];
        let obstacle = Obstacle::decode(kind, reader.text()?);
        let reason = String::from_utf8_lossy(reader.text()?).into_owned();
        let [source, directory, compiler] = [reader.path()?, reader.path()?, reader.path()?];
        let rows = reader.list(8, |r| {
            let name = r.name()?;
            Some(Row { name, fields: r.list(4, |r| r.text().map(<[u8]>::to_vec))? })
        })?;
        let cut_rows = reader.list(4, Reader::name)?;
        let part = |r: &mut Reader<'_>| Some(Part { digest: r.array()?, path: r.path()? });
        let parts = reader.list(12, part)?;
        let words = reader.list(4, |r| r.text().map(|word| OsString::from_vec(word.to_vec())))?;
        let account = Account {
            at_ns,
            outcome,
            reason,
            obstacle,
            source,
            directory,
            compiler,
            direct,
            result,
            cost_us,
            hits_before,
            rows,
            cut_rows,
            parts,
            words,
            is_cut,
        };
        reader.0.is_empty().then_some(account)
    }
}

impl Obstacle {
    fn encode(&self) -> (u8, Vec<u8>) {
        let path = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        match self {
            Obstacle::Unknown => (0, Vec::new()),
            Obstacle::Recache => (1, Vec::new()),
            Obstacle::NoManifest => (2, Vec::new()),
            Obstacle::NoText => (3, Vec::new()),
            Obstacle::NoVariant(Differs::Input(input)) => (4, path(input)),
            Obstacle::NoVariant(Differs::Moment) => (5, Vec::new()),
            Obstacle::NoVariant(Differs::Absent(directory)) => (6, path(directory)),
            Obstacle::NoVariant(Differs::Messages) => (7, Vec::new()),
            Obstacle::NoVariant(Differs::Unsure) => (8, Vec::new()),
            Obstacle::ResultGone(key) => (9, key.as_bytes().to_vec()),
            Obstacle::Unusable(why) => (10, why.as_bytes().to_vec()),
        }
    }

    fn decode(kind: u8, text: &[u8]) -> Obstacle {
        let path = || PathBuf::from(OsStr::from_bytes(text));
        match kind {
            1 => Obstacle::Recache,
            2 => Obstacle::NoManifest,
            3 => Obstacle::NoText,
            4 => Obstacle::NoVariant(Differs::Input(path())),
            5 => Obstacle::NoVariant(Differs::Moment),
            6 => Obstacle::NoVariant(Differs::Absent(path())),
            7 => Obstacle::NoVariant(Differs::Messages),
            8 => Obstacle::NoVariant(Differs::Unsure),
            9 => text
                .try_into()
                .map_or(Obstacle::Unknown, |key| Obstacle::ResultGone(Key::from_bytes(key))),
            10 => Obstacle::Unusable(String::from_utf8_lossy(text).into_owned()),
            _ => Obstacle::Unknown,
        }
    }
}

/// Writes counts and texts.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn count(&mut self, count: usize) {
        self.0.extend((count as u32).to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }
}

/// Reads from the front; every answer is within what is left.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn count(&mut self, item_bytes: usize) -> Option<usize> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        (count <= self.0.len() / item_bytes).then_some(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.count(1)?;
        self.bytes(length)
    }

    fn name(&mut self) -> Option<String> {
        self.text().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    fn path(&mut self) -> Option<PathBuf> {
        self.text().map(|path| Path::new(OsStr::from_bytes(path)).to_path_buf())
    }

    /// A list of items of at least `item_bytes` each.
    pub(super) fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.count(item_bytes)?;
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn sample(at_ns: u64) -> Account {
        let row = |name: &str, fields: &[&str]| Row {
            name: name.to_owned(),
            fields: fields.iter().map(|field| field.as_bytes().to_vec()).collect(),
        };
        Account {
            at_ns,
            outcome: 4,
            reason: "none".to_owned(),
            obstacle: Obstacle::NoVariant(Differs::Input("a.h".into())),
            source: "/w/a.c".into(),
            directory: "/w".into(),
            compiler: "/usr/bin/gcc".into(),
            direct: Some(Key::of(b"direct")),
            result: None,
            cost_us: 77,
            hits_before: 5,
            rows: vec![row("source", &["x"]), row("arguments", &["2", "-c", &"-I".repeat(500)])],
            cut_rows: Vec::new(),
            parts: vec![Part { path: "/usr/bin/gcc".into(), digest: [7; 8] }],
            words: vec!["-c".into(), "y".repeat(200).into(), "z".repeat(200).into()],
            is_cut: false,
        }
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let account = sample(3);
        assert_eq!(Account::decode(&account.encode(1 << 20).unwrap()), Some(account));
        let all = [
            Obstacle::Unknown,
            Obstacle::Recache,
            Obstacle::NoManifest,
            Obstacle::NoText,
            Obstacle::NoVariant(Differs::Moment),
            Obstacle::NoVariant(Differs::Absent("/d".into())),
            Obstacle::NoVariant(Differs::Messages),
            Obstacle::NoVariant(Differs::Unsure),
            Obstacle::ResultGone(Key::of(b"r")),
            Obstacle::Unusable("why".to_owned()),
        ];
        for obstacle in all {
            let (kind, text) = obstacle.encode();
            assert_eq!(Obstacle::decode(kind, &text), obstacle);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_and_its_difference_is_still_known() {
        let bytes = sample(3).encode(420).unwrap();
        assert!(bytes.len() <= 420);
        let cut = Account::decode(&bytes).unwrap();
        assert!(cut.is_cut && cut.parts.is_empty() && cut.words.is_empty());
        assert_eq!(cut.cut_rows, ["arguments"]);
        let whole = sample(3);
        let digest = row_digest(whole.row("arguments").unwrap());
        assert_eq!(cut.row("arguments").unwrap().fields, [digest]);
        assert_eq!(cut.row("source"), whole.row("source"));
        assert_eq!(sample(3).encode(60), None);
    }

    #[test]
    fn no_cut_and_no_flipped_bit_is_a_panic() {
        let bytes = sample(1).encode(1 << 20).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Account::decode(&bytes[..length]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Some(account) = Account::decode(&damaged) {
                assert!(account.rows.len() < bytes.len());
            }
        }
    }
}
