//! Manifests: what a compile with a given direct key has read before, and the result it led to.
//!
//! Little-endian numbers; `[n]` is a `u32` count followed by the items:
//!
//! ```text
//! manifest = "LMF" version:u8 [path] [input] names:16 [group] [variant]
//! path     = [byte]                       as the compiler reported it
//! input    = path:u32 digest:32           one state of one file; variants share them
//! group    = directory:u32 prefix:u32 set:16 [run]   names absent in one directory, both paths
//! run      = first:u32 count:u32          of the names, each ended by a zero, in a section of
//!                                         their own, whose XXH3-128 stands before the groups
//! variant  = result key:32 messages:u64 mentions:u8 moment:32 cost:u32 [input index:u32]
//!            [group index:u32]       `cost` is what the compiler took, in microseconds
//! ```
//!
//! 1. Variants stand oldest first; a reader tries the newest first.
//! 2. A variant fits if and only if every input has its digest now, `messages` is 0 or the state of
//!    the terminal now, `moment` is what [`moment`](crate::moment::moment) gives now, and every
//!    group holds, see [`absent`](crate::absent).
//! 3. A manifest holds at most [`VARIANTS_MAX`] variants in [`BYTES_MAX`] bytes; the oldest go.
//! 4. A hit in directories that have not changed reads no names.
//! 5. The decoder trusts nothing: every index and count is checked, no count allocates by itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::checksum::xxh3_128;
use larder_engine::{KEY_BYTES, Key, Section, SectionKind};

use crate::absent::Group;
use crate::digest::{Digest, Mentions};
use crate::maps::Map;

const MAGIC: &[u8; 3] = b"LMF";
const VERSION: u8 = 4;
/// More remembered states of one source than this are hardly asked for again, and each costs the
/// comparison of a digest on every hit that needs an older one.
const VARIANTS_MAX: usize = 64;
/// Bounds what a hit must read; a unit with 2,000 headers takes about 200 KB per 2 variants.
const BYTES_MAX: usize = 4 << 20;
const VARIANT_BYTES_MIN: usize = KEY_BYTES + 8 + 1 + 32 + 4 + 4 + 4;
const GROUP_BYTES_MIN: usize = 4 + 4 + 16 + 4;
const RUN_BYTES: usize = 8;

/// One file as a compile read it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Input {
    /// The path as the compiler reported it.
    pub path: PathBuf,
    /// BLAKE3 of its contents.
    pub digest: Digest,
}

/// One remembered state of the inputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Where the result stands.
    pub result: Key,
    /// 0 if nothing was written to stderr, else the state of the terminal that shaped it.
    pub messages: u64,
    /// What the inputs mention.
    pub mentions: Mentions,
    /// What the time macros saw, zero if none is mentioned.
    pub moment: Digest,
    /// What the compiler took, in microseconds; 0 if that is not known.
    pub cost_us: u32,
    inputs: Vec<u32>,
    groups: Vec<u32>,
}

/// What a variant's result was a function of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    /// 0 if nothing was written to stderr, else the state of the terminal that shaped it.
    pub messages: u64,
    /// What the inputs mention.
    pub mentions: Mentions,
    /// What the time macros saw.
    pub moment: Digest,
    /// What the compiler took, in microseconds; 0 if that is not known.
    pub cost_us: u32,
    /// What was looked for in vain.
    pub absent: Vec<Group>,
}

/// A group as it stands in a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stored {
    directory: u32,
    prefix: u32,
    set: u128,
    /// (first, count) of the manifest's names.
    runs: Vec<(u32, u32)>,
}

/// A group of a variant: where, what, and the names on demand.
pub struct Expected<'a> {
    /// The directory that the names are looked for in.
    pub directory: &'a Path,
    /// [`Group::set`].
    pub set: u128,
    prefix: &'a Path,
    runs: &'a [(u32, u32)],
}

/// Paths, one behind the other: a hit reads hundreds, and each of its own would be allocated.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Paths {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Paths {
    fn with_capacity(count: usize, bytes: usize) -> Paths {
        Paths { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    fn push(&mut self, path: &Path) {
        self.bytes.extend_from_slice(path.as_os_str().as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// The path at an index.
    pub fn get(&self, index: usize) -> Option<&Path> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(Path::new(OsStr::from_bytes(&self.bytes[start..end])))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The variants of one direct key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    paths: Paths,
    inputs: Vec<(u32, Digest)>,
    /// Names, each ended by a zero; read only when a directory has changed.
    names: Vec<u8>,
    names_hash: u128,
    groups: Vec<Stored>,
    variants: Vec<Variant>,
}

impl Default for Manifest {
    fn default() -> Manifest {
        Manifest {
            paths: Paths::default(),
            inputs: Vec::new(),
            names: Vec::new(),
            names_hash: xxh3_128(b""),
            groups: Vec::new(),
            variants: Vec::new(),
        }
    }
}

impl Manifest {
    /// The variants, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().rev()
    }

    /// Whether there is no variant.
    pub fn is_empty(&self) -> bool {
        self.variants.is_empty()
    }

    /// Every path of the manifest, at the index that [`Manifest::inputs_of`] gives.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// (index of the path, expected digest) of each input of `variant`.
    pub fn inputs_of<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> impl Iterator<Item = (usize, &'a Digest)> {
        variant.inputs.iter().filter_map(|index| {
            let (path, digest) = self.inputs.get(*index as usize)?;
            Some((*path as usize, digest))
        })
    }

    /// The groups of names that were absent for `variant`.
    pub fn absent_of<'a>(&'a self, variant: &'a Variant) -> impl Iterator<Item = Expected<'a>> {
        variant.groups.iter().filter_map(|index| {
            let group = self.groups.get(*index as usize)?;
            let directory = self.paths.get(group.directory as usize)?;
            let prefix = self.paths.get(group.prefix as usize)?;
            Some(Expected { directory, set: group.set, prefix, runs: &group.runs })
        })
    }

    /// Prefix and names of a group; `None` if the manifest does not have them.
    pub fn names_of<'a>(&'a self, group: &Expected<'a>) -> Option<(&'a [u8], Vec<&'a [u8]>)> {
        self.names_in(&self.names, group)
    }

    /// As [`Manifest::names_of`], with the names that stand in a section of their own.
    pub fn names_in<'a>(
        &self,
        names: &'a [u8],
        group: &Expected<'a>,
    ) -> Option<(&'a [u8], Vec<&'a [u8]>)> {
        // Another process may have replaced both sections between two reads.
        if !self.has_names(names) {
            return None;
        }
        let names: Vec<&[u8]> = names.split(|byte| *byte == 0).collect();
        let mut found = Vec::new();
        for (first, count) in group.runs {
            let first = *first as usize;
            // What follows the last zero is no name.
            let end = first.checked_add(*count as usize).filter(|end| *end < names.len())?;
            found.extend_from_slice(&names[first..end]);
        }
        Some((group.prefix.as_os_str().as_bytes(), found))
    }

    /// Adds a variant as the newest; one with the same result moves there.
    pub fn add(&mut self, result: Key, state: &State, inputs: &[Input]) {
        let mut builder = Builder::of(self);
        let inputs = inputs.iter().map(|input| builder.input(input)).collect();
        let groups = state.absent.iter().map(|group| builder.group(group)).collect();
        builder.finish();
        let State { messages, mentions, moment, cost_us, .. } = *state;
        let count = self.variants.len();
        self.variants.retain(|variant| variant.result != result);
        let has_unused = self.variants.len() < count;
        let variant = Variant { result, messages, mentions, moment, cost_us, inputs, groups };
        self.variants.push(variant);
        self.shrink(has_unused);
    }

    /// Adds the variants of another manifest of the same direct key, which has its names, as the
    /// oldest ones; those with a result that is known already stay as they are. Returns whether
    /// there was a new one.
    pub fn merge(&mut self, other: &Manifest) -> bool {
        let new = self.taken_over(other, |_| true);
        let is_more = !new.is_empty();
        self.variants.splice(0..0, new);
        self.shrink(false);
        is_more
    }

    /// Adds the variant with this result of another manifest of the same direct key, which has its
    /// names, as the newest one. Returns whether it is a new one.
    pub fn adopt(&mut self, other: &Manifest, result: &Key) -> bool {
        let new = self.taken_over(other, |variant| variant.result == *result);
        let is_more = !new.is_empty();
        self.variants.extend(new);
        self.shrink(false);
        is_more
    }

    /// Those of another manifest's variants that are wanted and have a new result, by the tables of
    /// this one, to which theirs are added.
    fn taken_over(
        &mut self,
        other: &Manifest,
        is_wanted: impl Fn(&Variant) -> bool,
    ) -> Vec<Variant> {
        let is_known =
            |variant: &Variant| self.variants.iter().any(|known| known.result == variant.result);
        let is_new = |variant: &&Variant| is_wanted(variant) && !is_known(variant);
        let new: Vec<&Variant> = other.variants.iter().filter(is_new).collect();
        if new.is_empty() {
            return Vec::new();
        }
        let mut builder = Builder::of(self);
        let new = new.into_iter().map(|variant| {
            let inputs = other.inputs_of(variant).filter_map(|(path, digest)| {
                let path = other.paths.get(path)?.to_path_buf();
                Some(builder.input(&Input { path, digest: *digest }))
            });
            let inputs = inputs.collect();
            let groups = other.absent_of(variant).map(|expected| {
                let (prefix, names) = other.names_of(&expected)?;
                let names = names.into_iter().map(<[u8]>::to_vec).collect();
                let directory = expected.directory.to_path_buf();
                Some(builder.group(&Group { directory, prefix: prefix.to_vec(), names }))
            });
            // Without one of its groups a variant would fit where it must not.
            let groups = groups.collect::<Option<Vec<u32>>>()?;
            Some(Variant { inputs, groups, ..variant.clone() })
        });
        let new = new.flatten().collect();
        builder.finish();
        new
    }

    /// The oldest variants go until the rest is within the limits; then unused tables go.
    fn shrink(&mut self, has_unused: bool) {
        let surplus = self.variants.len().saturating_sub(VARIANTS_MAX);
        self.variants.drain(..surplus);
        if has_unused || surplus > 0 {
            self.compact();
        }
        while self.variants.len() > 1 && self.encoded_bytes() + self.names.len() > BYTES_MAX {
            self.variants.remove(0);
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut kept = Manifest::default();
        let mut builder = Builder::of(&mut kept);
        let mut variants = Vec::with_capacity(self.variants.len());
        for variant in &self.variants {
            let inputs = variant.inputs.iter().filter_map(|index| {
                let (path, digest) = self.inputs.get(*index as usize)?;
                let path = self.paths.get(*path as usize)?.to_path_buf();
                Some(builder.input(&Input { path, digest: *digest }))
            });
            let inputs = inputs.collect();
            let groups = self.absent_of(variant).filter_map(|expected| {
                let (prefix, names) = self.names_of(&expected)?;
                let names = names.into_iter().map(<[u8]>::to_vec).collect();
                let directory = expected.directory.to_path_buf();
                Some(builder.group(&Group { directory, prefix: prefix.to_vec(), names }))
            });
            let groups = groups.collect();
            variants.push(Variant { inputs, groups, ..variant.clone() });
        }
        builder.finish();
        kept.variants = variants;
        *self = kept;
    }

    fn encoded_bytes(&self) -> usize {
        let paths: usize = self.paths.iter().map(|path| 4 + path.as_os_str().len()).sum();
        let groups = self.groups.iter();
        let groups: usize = groups.map(|g| GROUP_BYTES_MIN + RUN_BYTES * g.runs.len()).sum();
        let variants = self.variants.iter();
        let variants: usize =
            variants.map(|v| VARIANT_BYTES_MIN + 4 * (v.inputs.len() + v.groups.len())).sum();
        4 + 4 * 4 + 16 + paths + 36 * self.inputs.len() + groups + variants
    }

    /// The manifest as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        let number = |bytes: &mut Vec<u8>, count: usize| {
            bytes.extend_from_slice(&(count as u32).to_le_bytes());
        };
        number(&mut bytes, self.paths.len());
        for path in self.paths.iter() {
            number(&mut bytes, path.as_os_str().len());
            bytes.extend_from_slice(path.as_os_str().as_bytes());
        }
        number(&mut bytes, self.inputs.len());
        for (path, digest) in &self.inputs {
            number(&mut bytes, *path as usize);
            bytes.extend_from_slice(digest);
        }
        bytes.extend_from_slice(&self.names_hash.to_le_bytes());
        number(&mut bytes, self.groups.len());
        for group in &self.groups {
            number(&mut bytes, group.directory as usize);
            number(&mut bytes, group.prefix as usize);
            bytes.extend_from_slice(&group.set.to_le_bytes());
            number(&mut bytes, group.runs.len());
            for (first, count) in &group.runs {
                number(&mut bytes, *first as usize);
                number(&mut bytes, *count as usize);
            }
        }
        number(&mut bytes, self.variants.len());
        for variant in &self.variants {
            bytes.extend_from_slice(variant.result.as_bytes());
            bytes.extend_from_slice(&variant.messages.to_le_bytes());
            bytes.push(variant.mentions.bits());
            bytes.extend_from_slice(&variant.moment);
            bytes.extend_from_slice(&variant.cost_us.to_le_bytes());
            number(&mut bytes, variant.inputs.len());
            variant.inputs.iter().for_each(|index| number(&mut bytes, *index as usize));
            number(&mut bytes, variant.groups.len());
            variant.groups.iter().for_each(|index| number(&mut bytes, *index as usize));
        }
        bytes
    }

    /// The sections of its record.
    pub fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = vec![Section::new(SectionKind::Manifest, self.encode())];
        if !self.names().is_empty() {
            sections.push(Section::new(SectionKind::Data, self.names()));
        }
        sections
    }

    /// The manifest with its names, of a record whose sections `read` gives.
    pub fn of_sections(mut read: impl FnMut(SectionKind) -> Option<Vec<u8>>) -> Option<Manifest> {
        let manifest = Manifest::decode(&read(SectionKind::Manifest)?)?;
        Some(manifest.with_names(read(SectionKind::Data).unwrap_or_default()))
    }

    /// The names, for a section of their own.
    pub fn names(&self) -> &[u8] {
        &self.names
    }

    /// Whether these are the names that [`Manifest::decode`] leaves out.
    pub fn has_names(&self, names: &[u8]) -> bool {
        xxh3_128(names) == self.names_hash
    }

    /// With the names that [`Manifest::decode`] leaves out; an empty manifest if they are others.
    pub fn with_names(mut self, names: Vec<u8>) -> Manifest {
        if !self.has_names(&names) {
            return Manifest::default();
        }
        self.names = names;
        self
    }

    /// The inverse of [`Manifest::encode`]; `None` if the bytes are no manifest of this version.
    pub fn decode(bytes: &[u8]) -> Option<Manifest> {
        let mut reader = Reader(bytes);
        if reader.bytes(3)? != MAGIC || reader.bytes(1)? != [VERSION] {
            return None;
        }
        let path_count = reader.count(4)?;
        let mut paths = Paths::with_capacity(path_count, reader.0.len());
        for _ in 0..path_count {
            let length = reader.count(1)?;
            paths.push(Path::new(OsStr::from_bytes(reader.bytes(length)?)));
        }
        let input_count = reader.count(36)?;
        let inputs = (0..input_count).map(|_| {
            let path = reader.index(paths.len())?;
            Some((path, reader.array()?))
        });
        let inputs = inputs.collect::<Option<Vec<_>>>()?;
        let names_hash = u128::from_le_bytes(reader.array()?);
        let group_count = reader.count(GROUP_BYTES_MIN)?;
        let groups = (0..group_count).map(|_| reader.group(paths.len()));
        let groups = groups.collect::<Option<Vec<_>>>()?;
        let variant_count = reader.count(VARIANT_BYTES_MIN)?;
        let variants = (0..variant_count).map(|_| reader.variant(inputs.len(), groups.len()));
        let variants = variants.collect::<Option<Vec<_>>>()?;
        let manifest = Manifest { paths, inputs, names: Vec::new(), names_hash, groups, variants };
        reader.0.is_empty().then_some(manifest)
    }
}

/// Adds to the tables of a manifest, each path, input, name and group once.
struct Builder<'a> {
    manifest: &'a mut Manifest,
    paths: Map<Vec<u8>, u32>,
    inputs: Map<(u32, Digest), u32>,
    names: Map<Vec<u8>, u32>,
    groups: Map<(u32, u32, u128), u32>,
}

impl<'a> Builder<'a> {
    fn of(manifest: &'a mut Manifest) -> Self {
        let numbered = |number: usize| number as u32;
        let paths = manifest.paths.iter().enumerate();
        let paths = paths.map(|(n, path)| (path.as_os_str().as_bytes().to_vec(), numbered(n)));
        let inputs = manifest.inputs.iter().copied().enumerate().map(|(n, i)| (i, numbered(n)));
        let mut names: Vec<&[u8]> = manifest.names.split(|byte| *byte == 0).collect();
        names.pop();
        let names = names.into_iter().enumerate().map(|(n, name)| (name.to_vec(), numbered(n)));
        let groups = manifest.groups.iter().enumerate();
        let groups = groups.map(|(n, g)| ((g.directory, g.prefix, g.set), numbered(n)));
        Builder {
            paths: paths.collect(),
            inputs: inputs.collect(),
            names: names.collect(),
            groups: groups.collect(),
            manifest,
        }
    }

    fn finish(self) {
        self.manifest.names_hash = xxh3_128(&self.manifest.names);
    }

    fn path(&mut self, path: &Path) -> u32 {
        let bytes = path.as_os_str().as_bytes();
        if let Some(index) = self.paths.get(bytes) {
            return *index;
        }
        let index = self.manifest.paths.len() as u32;
        self.manifest.paths.push(path);
        self.paths.insert(bytes.to_vec(), index);
        index
    }

    fn group(&mut self, group: &Group) -> u32 {
        let directory = self.path(&group.directory);
        let prefix = self.path(Path::new(OsStr::from_bytes(&group.prefix)));
        let set = group.set();
        if let Some(index) = self.groups.get(&(directory, prefix, set)) {
            return *index;
        }
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for name in &group.names {
            let index = self.name(name);
            match runs.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => runs.push((index, 1)),
            }
        }
        self.manifest.groups.push(Stored { directory, prefix, set, runs });
        let index = self.manifest.groups.len() as u32 - 1;
        self.groups.insert((directory, prefix, set), index);
        index
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.names.len() as u32;
        self.manifest.names.extend_from_slice(name);
        self.manifest.names.push(0);
        self.names.insert(name.to_vec(), index);
        index
    }

    fn input(&mut self, input: &Input) -> u32 {
        let path = self.path(&input.path);
        *self.inputs.entry((path, input.digest)).or_insert_with(|| {
            self.manifest.inputs.push((path, input.digest));
            self.manifest.inputs.len() as u32 - 1
        })
    }
}

/// Reads from the front; every answer is within what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A count of items of at least `item_bytes` each that can still follow.
    fn count(&mut self, item_bytes: usize) -> Option<usize> {
        let count = self.number()? as usize;
        (count <= self.0.len() / item_bytes).then_some(count)
    }

    fn index(&mut self, end: usize) -> Option<u32> {
        self.number().filter(|index| (*index as usize) < end)
    }

    /// Runs are checked where they are used.
    fn group(&mut self, path_end: usize) -> Option<Stored> {
        Some(Stored {
            directory: self.index(path_end)?,
            prefix: self.index(path_end)?,
            set: u128::from_le_bytes(self.array()?),
            runs: {
                let count = self.count(RUN_BYTES)?;
                (0..count)
                    .map(|_| Some((self.number()?, self.number()?)))
                    .collect::<Option<Vec<_>>>()?
            },
        })
    }

    fn indexes(&mut self, end: usize) -> Option<Vec<u32>> {
        let count = self.count(4)?;
        (0..count).map(|_| self.index(end)).collect()
    }

    fn variant(&mut self, input_end: usize, group_end: usize) -> Option<Variant> {
        Some(Variant {
            result: Key::from_bytes(self.array()?),
            messages: u64::from_le_bytes(self.array()?),
            mentions: Mentions::from_bits(self.bytes(1)?[0]),
            moment: self.array()?,
            cost_us: self.number()?,
            inputs: self.indexes(input_end)?,
            groups: self.indexes(group_end)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(round: u8) -> Vec<Input> {
        ["a.c", "/usr/include/stdio.h", "b.h"]
            .iter()
            .zip([1, 2, round])
            .map(|(path, byte)| Input { path: path.into(), digest: [byte; 32] })
            .collect()
    }

    fn group(names: &[&str]) -> Group {
        let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Group { directory: "dir".into(), prefix: b"gone/".to_vec(), names }
    }

    fn sample() -> Manifest {
        let mut manifest = Manifest::default();
        for round in 10..13 {
            let absent = vec![group(&["a.h", "s/b.h"]), group(&["a.h", &format!("{round}.h")])];
            let mentions = Mentions::DATE;
            let (messages, cost_us) = (u64::from(round), u32::from(round));
            let moment = [round; 32];
            let state = State { messages, mentions, moment, cost_us, absent };
            manifest.add(Key::of(&[round]), &state, &inputs(round));
        }
        manifest
    }

    #[test]
    fn tables_are_shared_and_the_newest_comes_first() {
        let manifest = sample();
        assert_eq!((manifest.paths.len(), manifest.inputs.len()), (5, 5));
        assert_eq!((manifest.names.len(), manifest.groups.len()), (4 + 6 + 3 * 5, 4));
        let newest = manifest.newest_first().next().unwrap();
        assert_eq!(newest.result, Key::of(&[12]));
        let digests: Vec<_> = manifest.inputs_of(newest).map(|(_, digest)| digest[0]).collect();
        assert_eq!(digests, [1, 2, 12]);
        let absent: Vec<_> = manifest.absent_of(newest).collect();
        assert_eq!(absent[1].set, group(&["12.h", "a.h"]).set());
        assert_eq!(absent[1].directory, Path::new("dir"));
        assert_eq!(
            manifest.names_of(&absent[0]),
            Some((&b"gone/"[..], vec![&b"a.h"[..], b"s/b.h"]))
        );
        assert_eq!(
            manifest.names_of(&absent[1]),
            Some((&b"gone/"[..], vec![&b"a.h"[..], b"12.h"]))
        );
    }

    #[test]
    fn what_only_old_variants_had_goes_with_them() {
        let mut manifest = sample();
        for round in 0..=255 {
            manifest.add(Key::of(&[1, round]), &State::default(), &inputs(round));
        }
        assert_eq!((manifest.names.len(), manifest.groups.len()), (0, 0));
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let manifest = sample();
        let bytes = manifest.encode();
        assert_eq!(bytes.len(), manifest.encoded_bytes());
        let names = manifest.names().to_vec();
        let decoded = Manifest::decode(&bytes).unwrap();
        assert_eq!(decoded.clone().with_names(b"others".to_vec()), Manifest::default());
        let newest = decoded.newest_first().next().unwrap();
        let group = decoded.absent_of(newest).next().unwrap();
        assert_eq!(decoded.names_of(&group), None);
        assert_eq!(decoded.names_in(&names, &group).unwrap().1, [&b"a.h"[..], b"s/b.h"]);
        assert_eq!(decoded.with_names(names), manifest);
        assert_eq!(Manifest::decode(&Manifest::default().encode()), Some(Manifest::default()));
    }

    #[test]
    fn the_same_result_is_kept_once_and_the_oldest_go() {
        let mut manifest = sample();
        manifest.add(Key::of(&[10]), &State::default(), &inputs(10));
        assert_eq!(manifest.variants.len(), 3);
        assert_eq!(manifest.newest_first().next().unwrap().result, Key::of(&[10]));
        for round in 0..=255 {
            manifest.add(Key::of(&[1, round]), &State::default(), &inputs(round));
        }
        assert_eq!(manifest.variants.len(), VARIANTS_MAX);
        assert!(manifest.inputs.len() <= VARIANTS_MAX + 2);
    }

    #[test]
    fn one_variant_is_adopted_with_its_names_as_the_newest() {
        let other = sample();
        let mut manifest = Manifest::default();
        manifest.add(Key::of(b"own"), &State::default(), &inputs(1));
        assert!(manifest.adopt(&other, &Key::of(&[11])));
        assert!(!manifest.adopt(&other, &Key::of(&[11])), "it is known");
        assert!(!manifest.adopt(&other, &Key::of(b"missing")));
        let results: Vec<_> = manifest.newest_first().map(|variant| variant.result).collect();
        assert_eq!(results, [Key::of(&[11]), Key::of(b"own")]);
        let manifest = Manifest::decode(&manifest.encode()).unwrap().with_names(manifest.names);
        let adopted = manifest.newest_first().next().unwrap();
        let original = other.newest_first().find(|variant| variant.result == adopted.result);
        let told = |manifest: &Manifest, variant: &Variant| {
            let path = |index| manifest.paths().get(index).unwrap().to_path_buf();
            let inputs = manifest.inputs_of(variant).map(|(index, digest)| (path(index), *digest));
            let inputs: Vec<_> = inputs.collect();
            let groups = manifest.absent_of(variant).map(|group| {
                let (prefix, names) = manifest.names_of(&group).unwrap();
                format!("{:?} {} {prefix:?} {names:?}", group.directory, group.set)
            });
            (inputs, groups.collect::<Vec<_>>())
        };
        assert_eq!(told(&manifest, adopted), told(&other, original.unwrap()));
        // Without its names it would fit where it must not.
        let nameless = Manifest::decode(&other.encode()).unwrap();
        assert!(!Manifest::default().adopt(&nameless, &Key::of(&[11])));
    }

    #[test]
    fn a_manifest_stays_within_its_bytes() {
        let mut manifest = Manifest::default();
        for round in 0..8u8 {
            let input = |n: u32| Input {
                path: format!("{round}/{n}/{}", "x".repeat(100)).into(),
                digest: [round; 32],
            };
            let inputs: Vec<_> = (0..10_000).map(input).collect();
            manifest.add(Key::of(&[round]), &State::default(), &inputs);
        }
        assert!(manifest.encode().len() <= BYTES_MAX);
        assert_eq!(manifest.newest_first().next().unwrap().result, Key::of(&[7]));
    }

    #[test]
    fn no_cut_and_no_flipped_bit_is_a_panic_or_an_index_outside() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..length]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Some(manifest) = Manifest::decode(&damaged) {
                for variant in manifest.newest_first() {
                    let inputs: Vec<_> = manifest.inputs_of(variant).collect();
                    assert_eq!(inputs.len(), variant.inputs.len());
                    assert!(inputs.iter().all(|(path, _)| *path < manifest.paths.len()));
                    let absent: Vec<_> = manifest.absent_of(variant).collect();
                    assert_eq!(absent.len(), variant.groups.len());
                    let names = sample().names;
                    absent.iter().for_each(|group| drop(manifest.names_in(&names, group)));
                }
            }
        }
    }
}
