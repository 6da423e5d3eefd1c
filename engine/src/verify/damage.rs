//! What can be damaged, and what that means.
//!
//! 1. A kind has a name for programs, which never changes, and a meaning for people.
//! 2. How bad it is may depend on more than the kind: a damaged slot costs misses as long as its
//!    table is asked, and nothing once its segment is in the tree.

use std::fmt::{self, Write};

/// How bad a damage is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Costs nothing: something else says the same.
    Harmless,
    /// Some keys are misses.
    Misses,
    /// The store cannot be read as it is.
    Unusable,
}

impl Severity {
    /// The name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Harmless => "harmless",
            Severity::Misses => "misses",
            Severity::Unusable => "unusable",
        }
    }
}

macro_rules! damage_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $meaning:literal;)*) => {
        /// What is damaged.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum DamageKind { $($(#[$doc])* $name,)* }

        impl DamageKind {
            /// Every kind, in the order of docs/verify.md.
            pub const ALL: &[DamageKind] = &[$(DamageKind::$name,)*];

            /// The name for programs.
            pub fn name(self) -> &'static str {
                match self { $(DamageKind::$name => $text,)* }
            }

            /// What it means, for people: a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(DamageKind::$name => $meaning,)* }
            }
        }
    };
}

damage_kinds! {
    /// No copy of the superblock is valid.
    SuperblockLost = "superblock-lost",
        "nobody can read the store; whoever next opens it for writing makes a new superblock from \
         the segments";
    /// One of two copies is not valid.
    SuperblockCopy = "superblock-copy", "costs nothing: the other copy is used";
    /// Two valid copies that cannot follow each other.
    SuperblockOrder = "superblock-order",
        "costs nothing: the newer copy is used, and the next change writes both";
    /// A segment has records, and the superblock says that it has none.
    SuperblockUsed = "superblock-used",
        "until the segment is in the index, what was put into it is not found, and older values of \
         its keys may be";
    /// The tail is neither valid nor void.
    Tail = "tail", "costs nothing: the next put begins a new segment";
    /// A live segment has no file.
    SegmentMissing = "segment-missing",
        "all results in it will be compiled again; older values of its keys may be found";
    /// No copy of a segment's header is valid.
    SegmentHeader = "segment-header", "all results in it will be compiled again";
    /// One of the two copies of a segment's header is not valid.
    SegmentHeaderCopy = "segment-header-copy", "costs nothing: the other copy is used";
    /// A slot that is neither free nor valid.
    Slot = "slot",
        "until the segment is in the index, the keys of this page of slots are compiled again; \
         then it costs nothing";
    /// A free slot in front of slots that are taken.
    SlotGap = "slot-gap",
        "until the segment is in the index, the keys of this page of slots are compiled again; \
         then it costs nothing";
    /// The footer has a whole record that no slot names.
    SlotLost = "slot-lost", "costs nothing: the segment is read by its footer and the index";
    /// A slot and its record disagree.
    SlotWrong = "slot-wrong", "the result may be compiled again";
    /// No valid frame stands where a record should.
    Frame = "frame", "this result will be compiled again";
    /// A record's frame is valid, its head is not.
    Head = "record-head", "this result will be compiled again";
    /// The frame and the head are valid, the bytes of a section are not, or are missing.
    Section = "record-section", "this result will be compiled again";
    /// The sequence number of a record cannot be right.
    Sequence = "sequence", "which of two values of this key is the newer one is not certain";
    /// A merged segment has no valid footer.
    Footer = "footer", "costs nothing: the segment is read by its table of slots";
    /// A footer and the records of its segment disagree.
    FooterEntry = "footer-entry",
        "costs nothing as long as the index is whole: only a rebuild reads the footer";
    /// No meta page of the index is valid.
    IndexLost = "index-lost",
        "nothing is lost, look-ups are slower: they ask every segment until the next merge";
    /// One of the two meta pages is damaged.
    IndexMeta = "index-meta", "costs nothing: the other one is used";
    /// A page of the tree is damaged.
    IndexPage = "index-page",
        "the keys of this page will be compiled again until `larder janitor` rebuilds the index";
    /// Pages of the tree contradict each other.
    IndexOrder = "index-order", "some keys are not found and will be compiled again";
    /// The tree has another number of entries than it says.
    IndexCount = "index-count", "costs nothing but a wrong figure in the statistics";
    /// An entry of the tree leads to no record of its key.
    IndexEntry = "index-entry", "keys that begin like this one will be compiled again";
    /// The newest record of a key in a merged segment is not in the tree.
    IndexGap = "index-gap", "this result is not found and will be compiled again";
    /// The recency bits have another length than they can have.
    Recency = "recency", "costs nothing but hits that eviction does not know of";
    /// The counters have another length than they can have.
    Counters = "counters", "costs nothing but statistics";
    /// The disk cannot read a place.
    Unreadable = "unreadable",
        "what stands there will be compiled again; look at the disk, it may be failing";
    /// This user may not read a file.
    Refused = "refused",
        "this user compiles again what depends on it; nothing in it need be damaged, see who owns \
         it";
    /// Something else stands in place of a file.
    NoFile = "no-file",
        "what depends on it will be compiled again; remove what stands there, then repair";
    /// The file of a segment that was evicted.
    LeftSegment = "left-segment",
        "costs disk space until the next upkeep: whoever evicted it was killed";
    /// The file of a segment that is not in use yet.
    EarlySegment = "early-segment",
        "costs nothing: whoever made it was killed, and the next segment replaces it";
    /// A file that is no part of a store.
    UnknownFile = "unknown-file", "costs disk space; larder leaves it alone, remove it yourself";
}

impl DamageKind {
    /// Whether a repair can do something about it. It leaves alone what it cannot look into.
    pub fn is_repairable(self) -> bool {
        !matches!(self, DamageKind::Refused | DamageKind::NoFile)
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What it is.
    pub kind: DamageKind,
    /// The file, relative to the store.
    pub file: String,
    /// The segment, where the damage is in one.
    pub segment: Option<u32>,
    /// Offset in the file in bytes, where the damage has one.
    pub offset: Option<u64>,
    /// The key that it is about in hexadecimal digits: all of it, or as much as is known.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
    /// How bad that is.
    pub severity: Severity,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever named a file that is not ours may have thought of anything.
        for character in self.file.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => f.write_char(character)?,
            }
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(key) = &self.key {
            write!(f, " (key {key})")?;
        }
        write!(f, "; {}", self.kind.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_name_and_a_meaning_of_its_own_place() {
        let names: BTreeSet<&str> = DamageKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), DamageKind::ALL.len());
        let is_name =
            |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(names.iter().all(|name| is_name(name)));
        let is_part = |text: &str| !text.is_empty() && !text.ends_with('.');
        assert!(DamageKind::ALL.iter().all(|kind| is_part(kind.meaning())));
    }

    #[test]
    fn a_damage_is_a_sentence_with_its_place() {
        let damage = Damage {
            kind: DamageKind::Slot,
            file: "log/00000001.seg".to_string(),
            segment: Some(1),
            offset: Some(4096),
            key: Some("00ff".to_string()),
            what: "a slot is damaged".to_string(),
            severity: Severity::Misses,
        };
        let text = damage.to_string();
        assert!(
            text.starts_with("log/00000001.seg at byte 4096: a slot is damaged (key 00ff); until")
        );
    }
}
