//! Manifests: what a compile with a given direct key has read before, and the result it led to.
//!
//! Little-endian numbers; `[n]` is a `u32` count followed by the items:
//!
//! ```text
//! manifest = "LMF" version:u8 [path] [input] [variant]
//! path     = [byte]                       as the compiler reported it
//! input    = path:u32 digest:32           one state of one file; variants share them
//! variant  = result key:32 messages:u64 mentions:u8 moment:32 [input index:u32]
//! ```
//!
//! 1. Variants stand oldest first; a reader tries the newest first.
//! 2. A variant fits if and only if every input has its digest now, `messages` is 0 or the state of
//!    the terminal now, and `moment` is what [`moment`](crate::moment::moment) gives now.
//! 3. A manifest holds at most [`VARIANTS_MAX`] variants in [`BYTES_MAX`] bytes; the oldest go.
//! 4. The decoder trusts nothing: every index and count is checked, no count allocates by itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use larder_engine::{KEY_BYTES, Key};

use crate::digest::{Digest, Mentions};

const MAGIC: &[u8; 3] = b"LMF";
const VERSION: u8 = 1;
/// More remembered states of one source than this are hardly asked for again, and each costs the
/// comparison of a digest on every hit that needs an older one.
const VARIANTS_MAX: usize = 64;
/// Bounds what a hit must read; a unit with 2,000 headers takes about 200 KB per 2 variants.
const BYTES_MAX: usize = 4 << 20;
const VARIANT_BYTES_MIN: usize = KEY_BYTES + 8 + 1 + 32 + 4;

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
    inputs: Vec<u32>,
}

/// The variants of one direct key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Manifest {
    paths: Vec<PathBuf>,
    inputs: Vec<(u32, Digest)>,
    variants: Vec<Variant>,
}

impl Manifest {
    /// The variants, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().rev()
    }

    /// Every path of the manifest, at the index that [`Manifest::inputs_of`] gives.
    pub fn paths(&self) -> &[PathBuf] {
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

    /// Adds a variant as the newest; one with the same result moves there.
    pub fn add(
        &mut self,
        result: Key,
        messages: u64,
        (mentions, moment): (Mentions, Digest),
        inputs: &[Input],
    ) {
        let mut builder = Builder::of(self);
        let inputs = inputs.iter().map(|input| builder.input(input)).collect();
        self.variants.retain(|variant| variant.result != result);
        self.variants.push(Variant { result, messages, mentions, moment, inputs });
        self.shrink();
    }

    /// The oldest variants go until the rest is within the limits; then unused tables go.
    fn shrink(&mut self) {
        let surplus = self.variants.len().saturating_sub(VARIANTS_MAX);
        self.variants.drain(..surplus);
        self.compact();
        while self.variants.len() > 1 && self.encoded_bytes() > BYTES_MAX {
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
                let path = self.paths.get(*path as usize)?.clone();
                Some(builder.input(&Input { path, digest: *digest }))
            });
            variants.push(Variant { inputs: inputs.collect(), ..variant.clone() });
        }
        kept.variants = variants;
        *self = kept;
    }

    fn encoded_bytes(&self) -> usize {
        let paths: usize = self.paths.iter().map(|path| 4 + path.as_os_str().len()).sum();
        let variants: usize =
            self.variants.iter().map(|variant| VARIANT_BYTES_MIN + 4 * variant.inputs.len()).sum();
        4 + 3 * 4 + paths + 36 * self.inputs.len() + variants
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
        for path in &self.paths {
            number(&mut bytes, path.as_os_str().len());
            bytes.extend_from_slice(path.as_os_str().as_bytes());
        }
        number(&mut bytes, self.inputs.len());
        for (path, digest) in &self.inputs {
            number(&mut bytes, *path as usize);
            bytes.extend_from_slice(digest);
        }
        number(&mut bytes, self.variants.len());
        for variant in &self.variants {
            bytes.extend_from_slice(variant.result.as_bytes());
            bytes.extend_from_slice(&variant.messages.to_le_bytes());
            bytes.push(variant.mentions.bits());
            bytes.extend_from_slice(&variant.moment);
            number(&mut bytes, variant.inputs.len());
            variant.inputs.iter().for_each(|index| number(&mut bytes, *index as usize));
        }
        bytes
    }

    /// The inverse of [`Manifest::encode`]; `None` if the bytes are no manifest of this version.
    pub fn decode(bytes: &[u8]) -> Option<Manifest> {
        let mut reader = Reader(bytes);
        if reader.bytes(3)? != MAGIC || reader.bytes(1)? != [VERSION] {
            return None;
        }
        let path_count = reader.count(4)?;
        let paths = (0..path_count).map(|_| {
            let length = reader.count(1)?;
            Some(PathBuf::from(OsString::from_vec(reader.bytes(length)?.to_vec())))
        });
        let paths = paths.collect::<Option<Vec<_>>>()?;
        let input_count = reader.count(36)?;
        let inputs = (0..input_count).map(|_| {
            let path = reader.index(paths.len())?;
            Some((path, reader.array()?))
        });
        let inputs = inputs.collect::<Option<Vec<_>>>()?;
        let variant_count = reader.count(VARIANT_BYTES_MIN)?;
        let variants = (0..variant_count).map(|_| reader.variant(inputs.len()));
        let variants = variants.collect::<Option<Vec<_>>>()?;
        reader.0.is_empty().then_some(Manifest { paths, inputs, variants })
    }
}

/// Adds inputs to the tables of a manifest, each path and each (path, digest) once.
struct Builder<'a> {
    manifest: &'a mut Manifest,
    paths: HashMap<PathBuf, u32>,
    inputs: HashMap<(u32, Digest), u32>,
}

impl<'a> Builder<'a> {
    fn of(manifest: &'a mut Manifest) -> Self {
        let numbered = |number: usize| number as u32;
        let paths = manifest.paths.iter().cloned().enumerate().map(|(n, path)| (path, numbered(n)));
        let inputs = manifest.inputs.iter().copied().enumerate().map(|(n, i)| (i, numbered(n)));
        Builder { paths: paths.collect(), inputs: inputs.collect(), manifest }
    }

    fn input(&mut self, input: &Input) -> u32 {
        let path = *self.paths.entry(input.path.clone()).or_insert_with(|| {
            self.manifest.paths.push(input.path.clone());
            self.manifest.paths.len() as u32 - 1
        });
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

    fn variant(&mut self, input_end: usize) -> Option<Variant> {
        Some(Variant {
            result: Key::from_bytes(self.array()?),
            messages: u64::from_le_bytes(self.array()?),
            mentions: Mentions::from_bits(self.bytes(1)?[0]),
            moment: self.array()?,
            inputs: {
                let count = self.count(4)?;
                (0..count).map(|_| self.index(input_end)).collect::<Option<Vec<_>>>()?
            },
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

    fn sample() -> Manifest {
        let mut manifest = Manifest::default();
        for round in 10..13 {
            let moment = (Mentions::DATE, [round; 32]);
            manifest.add(Key::of(&[round]), u64::from(round), moment, &inputs(round));
        }
        manifest
    }

    #[test]
    fn tables_are_shared_and_the_newest_comes_first() {
        let manifest = sample();
        assert_eq!((manifest.paths.len(), manifest.inputs.len()), (3, 5));
        let newest = manifest.newest_first().next().unwrap();
        assert_eq!(newest.result, Key::of(&[12]));
        let digests: Vec<_> = manifest.inputs_of(newest).map(|(_, digest)| digest[0]).collect();
        assert_eq!(digests, [1, 2, 12]);
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let manifest = sample();
        let bytes = manifest.encode();
        assert_eq!(bytes.len(), manifest.encoded_bytes());
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        assert_eq!(Manifest::decode(&Manifest::default().encode()), Some(Manifest::default()));
    }

    #[test]
    fn the_same_result_is_kept_once_and_the_oldest_go() {
        let mut manifest = sample();
        manifest.add(Key::of(&[10]), 0, Default::default(), &inputs(10));
        assert_eq!(manifest.variants.len(), 3);
        assert_eq!(manifest.newest_first().next().unwrap().result, Key::of(&[10]));
        for round in 0..=255 {
            manifest.add(Key::of(&[1, round]), 0, Default::default(), &inputs(round));
        }
        assert_eq!(manifest.variants.len(), VARIANTS_MAX);
        assert!(manifest.inputs.len() <= VARIANTS_MAX + 2);
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
            manifest.add(Key::of(&[round]), 0, Default::default(), &inputs);
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
                }
            }
        }
    }
}
