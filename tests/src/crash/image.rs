//! What a power cut leaves: from what is durable and what is on its way to the disk to one of the
//! many states in which the disk may be found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sample::Random;

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Node {
    /// A directory.
    Directory,
    /// The file with that inode.
    File(u64),
}

/// The state of a disk that is at rest.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Every name.
    pub names: BTreeMap<PathBuf, Node>,
    /// The bytes of every inode.
    pub files: BTreeMap<u64, Arc<Vec<u8>>>,
}

/// A write, or a change of the length.
#[derive(Clone)]
pub struct Edit {
    /// Where it begins.
    pub offset: u64,
    /// The bytes that are there afterwards.
    pub bytes: Arc<[u8]>,
    /// The length of the file afterwards.
    pub len_bytes: u64,
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}, then {} long", self.bytes.len(), self.offset, self.len_bytes)
    }
}

impl Edit {
    /// Makes it.
    pub fn apply(&self, file: &mut Vec<u8>) {
        let start = self.offset as usize;
        let end = start + self.bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(&self.bytes);
        file.resize(self.len_bytes as usize, 0);
    }

    /// Makes it as far as it lies in `from..to`.
    fn apply_within(&self, file: &mut [u8], from: usize, to: usize) {
        let start = (self.offset as usize).max(from);
        let end = (self.offset as usize + self.bytes.len()).min(to).min(file.len());
        if start < end {
            let skipped = start - self.offset as usize;
            file[start..end].copy_from_slice(&self.bytes[skipped..skipped + end - start]);
        }
    }
}

/// How much of what is on its way arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// All of it.
    All,
    /// Nearly all.
    Most,
    /// Anything.
    Any,
    /// Hardly anything.
    Little,
    /// Nothing.
    Nothing,
}

impl Keep {
    /// How many of `count` changes in a row.
    fn pick(self, random: &mut Random, count: usize) -> usize {
        let any = |random: &mut Random| random.below(count as u64 + 1) as usize;
        match self {
            Keep::All => count,
            Keep::Nothing => 0,
            Keep::Any => any(random),
            Keep::Most if random.below(16) == 0 => any(random),
            Keep::Most => count,
            Keep::Little if random.below(16) == 0 => any(random),
            Keep::Little => 0,
        }
    }

    fn random(random: &mut Random) -> Keep {
        *random.choose(&[Keep::All, Keep::Most, Keep::Any, Keep::Any, Keep::Little, Keep::Nothing])
    }
}

/// What stands where a file grew and its bytes did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// Zeros.
    Zeros,
    /// Anything.
    Garbage,
    /// What another file has at the same place.
    Stale,
}

/// What a power cut does.
#[derive(Clone, Debug)]
pub struct Harm {
    /// Bytes that reach the disk together or not at all.
    pub unit_bytes: usize,
    /// Of each unit.
    pub data: Keep,
    /// Of each length.
    pub lengths: Keep,
    /// Of each name.
    pub names: Keep,
    /// Each file draws for itself instead.
    pub by_file: bool,
    /// Only one file, drawn at random, loses bytes or length.
    pub one_file: bool,
    /// Where a file is longer than what arrived.
    pub gap: Gap,
    /// Whether a sync of a file makes its name durable, as many file systems do.
    pub syncs_bind: bool,
}

impl Harm {
    /// The one that takes whatever is not synced.
    pub fn worst() -> Harm {
        Harm {
            unit_bytes: 4096,
            data: Keep::Nothing,
            lengths: Keep::Nothing,
            names: Keep::Nothing,
            by_file: false,
            one_file: false,
            gap: Gap::Zeros,
            syncs_bind: false,
        }
    }

    /// One of many.
    pub fn random(random: &mut Random) -> Harm {
        let all = |keep| (keep, keep, keep);
        let (data, lengths, names) = match random.below(12) {
            0 => all(Keep::All),
            1 => all(Keep::Most),
            2 => all(Keep::Little),
            3 => all(Keep::Nothing),
            // Only lengths and names; only data.
            4 | 5 => (Keep::All, Keep::Any, Keep::Any),
            6 => (Keep::Any, Keep::All, Keep::All),
            7 => (Keep::Little, Keep::All, Keep::All),
            8 => (Keep::Most, Keep::All, Keep::Any),
            _ => (Keep::Any, Keep::Any, Keep::Any),
        };
        Harm {
            unit_bytes: *random.choose(&[512, 4096]),
            data,
            lengths,
            names,
            by_file: random.below(3) == 0,
            one_file: random.below(6) == 0,
            gap: *random.choose(&[Gap::Zeros, Gap::Zeros, Gap::Garbage, Gap::Stale]),
            syncs_bind: random.below(3) == 0,
        }
    }
}

/// What was lost, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// Writes of which some units arrived and some did not.
    pub torn_writes: u64,
    /// Writes that arrived in full before an earlier one of the same file.
    pub reordered_writes: u64,
    /// Files that ended up with an earlier length.
    pub lost_lengths: u64,
    /// Names that were made and are not there.
    pub lost_names: u64,
    /// Names that were unlinked and are there.
    pub returned_names: u64,
    /// Units with bytes that were never written there.
    pub stale_units: u64,
}

/// A file: what is durable, and what is on its way.
#[derive(Debug, Default)]
struct Layers {
    base: Arc<Vec<u8>>,
    pending: Vec<Edit>,
}

/// A name: where it durably leads, and the changes on their way.
#[derive(Debug, Default)]
struct Binding {
    base: Option<Node>,
    pending: Vec<Option<Node>>,
}

/// A disk with changes on their way to it.
#[derive(Debug)]
pub struct Changes {
    files: BTreeMap<u64, Layers>,
    names: BTreeMap<PathBuf, Binding>,
}

impl Changes {
    /// None yet.
    pub fn new(base: &Image) -> Changes {
        let layers = |bytes: &Arc<Vec<u8>>| Layers { base: bytes.clone(), pending: Vec::new() };
        let binding = |node: &Node| Binding { base: Some(*node), pending: Vec::new() };
        Changes {
            files: base.files.iter().map(|(id, bytes)| (*id, layers(bytes))).collect(),
            names: base.names.iter().map(|(path, node)| (path.clone(), binding(node))).collect(),
        }
    }

    /// A file was written.
    pub fn edit(&mut self, id: u64, edit: &Edit) {
        self.files.entry(id).or_default().pending.push(edit.clone());
    }

    /// A file was synced.
    pub fn sync(&mut self, id: u64, binds: bool) {
        let layers = self.files.entry(id).or_default();
        for edit in layers.pending.drain(..) {
            edit.apply(Arc::make_mut(&mut layers.base));
        }
        for binding in self.names.values_mut().filter(|_| binds) {
            let made = binding.pending.iter().rposition(|node| *node == Some(Node::File(id)));
            if let Some(made) = made {
                binding.base = binding.pending.drain(..=made).next_back().flatten();
            }
        }
    }

    /// A name was made, moved or unlinked.
    pub fn bind(&mut self, path: &Path, node: Option<Node>) {
        if let Some(Node::File(id)) = node {
            self.files.entry(id).or_default();
        }
        self.names.entry(path.to_path_buf()).or_default().pending.push(node);
    }

    /// A directory was synced.
    pub fn sync_dir(&mut self, directory: &Path) {
        for (path, binding) in &mut self.names {
            if path.parent() == Some(directory)
                && let Some(last) = binding.pending.pop()
            {
                binding.pending.clear();
                binding.base = last;
            }
        }
    }

    /// One of the states in which the disk may be found.
    pub fn settle(&self, harm: &Harm, random: &mut Random) -> (Image, Loss) {
        let mut loss = Loss::default();
        let names = self.settle_names(harm, random, &mut loss);
        let changed: Vec<u64> = self
            .files
            .iter()
            .filter_map(|(id, layers)| (!layers.pending.is_empty()).then_some(*id))
            .collect();
        let victim = harm.one_file && !changed.is_empty();
        let victim = victim.then(|| *random.choose(&changed));
        let mut files = BTreeMap::new();
        for node in names.values() {
            let Node::File(id) = node else { continue };
            let Some(layers) = self.files.get(id) else { continue };
            if layers.pending.is_empty() {
                files.insert(*id, layers.base.clone());
                continue;
            }
            let (data, lengths) = match victim {
                Some(victim) if victim != *id => (Keep::All, Keep::All),
                _ if harm.by_file => (Keep::random(random), Keep::random(random)),
                _ => (harm.data, harm.lengths),
            };
            let stale = self.stale(*id, random);
            let mut settling = Settling { harm, layers, data, stale, random, loss: &mut loss };
            files.insert(*id, Arc::new(settling.settle(lengths)));
        }
        (Image { names, files }, loss)
    }

    fn settle_names(
        &self,
        harm: &Harm,
        random: &mut Random,
        loss: &mut Loss,
    ) -> BTreeMap<PathBuf, Node> {
        let mut names: BTreeMap<PathBuf, Node> = BTreeMap::new();
        // In the order of paths: a directory before what is in it.
        for (path, binding) in &self.names {
            let kept = harm.names.pick(random, binding.pending.len());
            let node = kept.checked_sub(1).map_or(binding.base, |last| binding.pending[last]);
            let newest = binding.pending.last().copied().unwrap_or(binding.base);
            let above = path.parent().filter(|above| above.parent().is_some());
            let is_reachable = above.is_none_or(|above| names.contains_key(above));
            let node = node.filter(|_| is_reachable);
            loss.lost_names += u64::from(newest.is_some() && node != newest);
            loss.returned_names += u64::from(newest.is_none() && node.is_some());
            names.extend(node.map(|node| (path.clone(), node)));
        }
        names
    }

    /// The bytes of some other file.
    fn stale(&self, id: u64, random: &mut Random) -> Arc<Vec<u8>> {
        let others: Vec<&Layers> =
            self.files.iter().filter_map(|(other, file)| (*other != id).then_some(file)).collect();
        if others.is_empty() { Arc::default() } else { random.choose(&others).base.clone() }
    }
}

/// One file on its way to what is found of it.
struct Settling<'a> {
    harm: &'a Harm,
    layers: &'a Layers,
    data: Keep,
    stale: Arc<Vec<u8>>,
    random: &'a mut Random,
    loss: &'a mut Loss,
}

impl Settling<'_> {
    fn settle(&mut self, lengths: Keep) -> Vec<u8> {
        let (base, pending) = (&self.layers.base, &self.layers.pending);
        let kept = lengths.pick(self.random, pending.len());
        let length = |count: usize| match count.checked_sub(1) {
            Some(last) => pending[last].len_bytes as usize,
            None => base.len(),
        };
        let (len_bytes, newest) = (length(kept), length(pending.len()));
        self.loss.lost_lengths += u64::from(len_bytes != newest);
        let unit_bytes = self.harm.unit_bytes;
        let mut file = base.to_vec();
        // Units are settled as if all of the file were there.
        file.resize(file.len().max(len_bytes), 0);
        let mut touching: Vec<Vec<usize>> = vec![Vec::new(); file.len().div_ceil(unit_bytes)];
        for (number, edit) in pending.iter().enumerate().filter(|(_, edit)| !edit.bytes.is_empty())
        {
            let last = (edit.offset as usize + edit.bytes.len() - 1) / unit_bytes;
            let units = touching.iter_mut().take(last + 1).skip(edit.offset as usize / unit_bytes);
            units.for_each(|unit| unit.push(number));
        }
        let mut arrived = vec![0; pending.len()];
        for (unit, edits) in touching.iter().enumerate().filter(|(_, edits)| !edits.is_empty()) {
            let (from, to) = (unit * unit_bytes, (unit + 1) * unit_bytes);
            let kept = self.data.pick(self.random, edits.len());
            if kept == 0 && from >= base.len() {
                let to = to.min(file.len());
                self.fill(&mut file[from..to], from);
            }
            for number in &edits[..kept] {
                pending[*number].apply_within(&mut file, from, to);
                arrived[*number] += 1;
            }
        }
        self.count(&touching, &arrived);
        file.resize(len_bytes, 0);
        file
    }

    /// Fills a unit that the file has got, and whose bytes did not arrive.
    fn fill(&mut self, unit: &mut [u8], offset: usize) {
        let end = offset + unit.len();
        match self.harm.gap {
            Gap::Zeros => return,
            Gap::Stale if self.stale.len() >= end => {
                unit.copy_from_slice(&self.stale[offset..end]);
            }
            _ => {
                let word = self.random.number().to_le_bytes();
                unit.iter_mut().zip(word.iter().cycle()).for_each(|(byte, any)| *byte = *any);
            }
        }
        self.loss.stale_units += 1;
    }

    fn count(&mut self, touching: &[Vec<usize>], arrived: &[usize]) {
        let mut wanted = vec![0; arrived.len()];
        touching.iter().flatten().for_each(|number| wanted[*number] += 1);
        let mut earlier_is_missing = false;
        for (arrived, wanted) in arrived.iter().zip(wanted).filter(|(_, wanted)| *wanted > 0) {
            self.loss.torn_writes += u64::from(0 < *arrived && *arrived < wanted);
            self.loss.reordered_writes += u64::from(*arrived == wanted && earlier_is_missing);
            earlier_is_missing |= *arrived == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(offset: u64, bytes: &[u8], len_bytes: u64) -> Edit {
        Edit { offset, bytes: bytes.into(), len_bytes }
    }

    /// A file of a page that was synced in its directory, then written in two places.
    fn written() -> Changes {
        let mut changes = Changes::new(&Image::default());
        let (directory, path) = (Path::new("/d"), Path::new("/d/f"));
        changes.bind(directory, Some(Node::Directory));
        changes.sync_dir(Path::new("/"));
        changes.bind(path, Some(Node::File(1)));
        changes.edit(1, &edit(0, &[1; 4096], 4096));
        changes.sync(1, false);
        changes.edit(1, &edit(256, &[2; 512], 4096));
        changes.edit(1, &edit(4096, &[3; 4096], 8192));
        changes
    }

    fn file(changes: &Changes, harm: &Harm, seed: u64) -> Option<Vec<u8>> {
        let (image, _) = changes.settle(harm, &mut Random::new(seed));
        let Some(Node::File(id)) = image.names.get(Path::new("/d/f")) else { return None };
        Some(image.files[id].to_vec())
    }

    #[test]
    fn what_is_synced_stays_and_what_is_not_may_go() {
        let mut changes = written();
        assert_eq!(file(&changes, &Harm::worst(), 1), None, "its name is not durable");
        let binding = Harm { syncs_bind: true, ..Harm::worst() };
        changes.sync(1, binding.syncs_bind);
        let mut newest = vec![1; 4096];
        newest[256..768].fill(2);
        newest.extend([3; 4096]);
        assert_eq!(file(&changes, &binding, 1), Some(newest.clone()));
        changes.sync_dir(Path::new("/d"));
        changes.bind(Path::new("/d/f"), None);
        assert_eq!(file(&changes, &Harm::worst(), 1), Some(newest));
        changes.sync_dir(Path::new("/d"));
        assert_eq!(file(&changes, &Harm::worst(), 1), None);
    }

    #[test]
    fn each_unit_and_the_length_go_their_own_way() {
        let mut changes = written();
        changes.sync_dir(Path::new("/d"));
        let (data, lengths) = (Keep::Any, Keep::Any);
        let harm = Harm { unit_bytes: 512, data, lengths, ..Harm::worst() };
        let states: Vec<Vec<u8>> =
            (0..200).filter_map(|seed| file(&changes, &harm, seed)).collect();
        assert_eq!(states.len(), 200);
        let some = |what: &str, is: &dyn Fn(&Vec<u8>) -> bool| {
            assert!(states.iter().any(is), "no state is {what}");
        };
        some("short", &|file| file.len() == 4096);
        some("long with zeros", &|file| file.len() == 8192 && file[4096..4608] == [0; 512]);
        some("torn", &|file| file[256..512] == [2; 256] && file[512..768] == [1; 256]);
        some("torn the other way", &|file| {
            file[256..512] == [1; 256] && file[512..768] == [2; 256]
        });
        some("reordered", &|file| file[256..768] == [1; 512] && file.last() == Some(&3));
        for file in &states {
            assert!(file[..256] == [1; 256] && file[768..4096] == [1; 3328], "durable bytes");
            assert!(file[256..512] == [1; 256] || file[256..512] == [2; 256], "half a unit");
        }
        let garbage = Harm { gap: Gap::Garbage, data: Keep::Nothing, ..harm };
        let grown = (0..50).filter_map(|seed| file(&changes, &garbage, seed));
        assert!(grown.into_iter().any(|file| file.len() == 8192 && file[4096..] != [0; 4096]));
    }
}
