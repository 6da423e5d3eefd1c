//! The rows of the commands whose work `larder-tools` does.

use super::super::tools;
use super::{Command, Count, Flag, Kind, Operand, Takes};

/// What `--from` and `--to` may be.
const LAYOUTS: &[&str] = &[
    "larder",
    "ccache",
    "ccache-storage",
    "ccache-storage-flat",
    "sccache",
    "lmdb",
    "tar",
    "redis",
    "memcached",
    "http",
    "s3",
];

const FROM: Flag = Flag {
    name: "from",
    takes: Takes::One("LAYOUT", Kind::Choice(LAYOUTS)),
    what: "the layout of what is read, where it cannot be told from what is there",
    ..Flag::NONE
};

const ENTRY: Operand = Operand {
    name: "KEY|FILE",
    count: Count::One,
    kind: Kind::File,
    what: "a file of any layout, or an entry of the store: its key, the beginning of that, or the \
           name that its tool gave it, as `larder ls` shows it",
};

const CACHE: Operand = Operand {
    name: "CACHE",
    count: Count::Maybe,
    kind: Kind::Directory,
    what: "a store or another tool's cache, as `larder convert` takes it; the store of the \
           settings by default",
};

/// Each of them.
pub const CONVERT: Command = Command {
    name: "convert",
    what: "copy everything from one cache into another one of any layout",
    about: &[
        "A layout is told by what stands in FROM, and for TO by what is there, by a URL, or by \
         --to. Entries stay as they are, byte by byte, with their names and times; what a layout \
         has no place for is counted and named. What is damaged is named and left out.",
        "The same call again goes on where one has ended: what is there is not written again. A \
         cache may be in use meanwhile.",
    ],
    operands: &[
        Operand {
            name: "FROM",
            count: Count::One,
            kind: Kind::File,
            what: "a store of larder; a cache directory of ccache or sccache; a directory of \
                   ccache's file storage; a tar of any of them; an LMDB database; redis://, \
                   memcached://, http:// or s3://, with attributes as docs/tiers.md describes",
        },
        Operand {
            name: "TO",
            count: Count::One,
            kind: Kind::File,
            what: "the same, made if it is missing; NAME.tar and NAME.lmdb say what they are",
        },
    ],
    flags: &[
        FROM,
        Flag {
            name: "to",
            takes: Takes::One("LAYOUT", Kind::Choice(LAYOUTS)),
            what: "the layout of what is made",
            ..Flag::NONE
        },
        Flag { name: "overwrite", what: "write what is there again", ..Flag::NONE },
        Flag {
            name: "max-size",
            takes: Takes::One("SIZE", Kind::Size),
            what: "the largest size of a store that is made or written, as 50Gi; that of the \
                   settings by default. What does not fit is evicted",
            ..Flag::NONE
        },
        Flag {
            name: "keys",
            takes: Takes::One("FILE", Kind::File),
            what: "the names to read, a line each, from a server that cannot list them",
            ..Flag::NONE
        },
        Flag {
            name: "threads",
            takes: Takes::One("COUNT", Kind::Text),
            what: "how many threads read and write; as many as processors by default",
            ..Flag::NONE
        },
        Flag {
            name: "dry-run",
            what: "read and check everything, and write nothing",
            ..Flag::NONE
        },
        Flag::JSON,
    ],
    notes: &["docs/convert.md describes the layouts, and what each has room for."],
    examples: &[
        ("larder convert ~/.cache/ccache /var/cache/larder --to larder", "keep ccache's entries"),
        ("larder convert ~/.cache/ccache backup.tar", "the same bytes for the same entries"),
        (
            "larder convert ~/.cache/sccache 's3://bucket/sccache|region=eu-west-1'",
            "move a cache to where sccache finds it with SCCACHE_S3_KEY_PREFIX=sccache",
        ),
    ],
    statuses: &[
        (0, "everything is there that this layout has a place for"),
        (1, "it could not be done"),
        (2, "wrong use"),
        (4, "some entries are damaged or could not be read or written; all others are there"),
    ],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const EXPORT: Command = Command {
    name: "export",
    what: "write what the store has to a directory, in pieces that are named by their contents",
    about: &[
        "The directory is a store that is only read: compiles use it as LARDER_DIR, or below their \
         own with LARDER_LOWER, and `larder import` takes it into another store. The same records \
         are the same bytes. Of an earlier export in DIR, pieces stay as long as most of them is \
         wanted, so that a cache of a CI uploads only what is new.",
    ],
    operands: &[Operand {
        name: "DIR",
        count: Count::One,
        kind: Kind::Directory,
        what: "made if it is missing; - writes an archive of it to stdout",
    }],
    flags: &[
        Flag {
            name: "touched-since-job",
            takes: Takes::Maybe("ID", Kind::Job),
            what: "only what that job got or put (default: the one in LARDER_JOB)",
            ..Flag::NONE
        },
        Flag::JSON,
    ],
    notes: &[
        "With `signing_key` the export is signed. It can be interrupted at any time: the earlier \
         one stays until the new one is whole. docs/ci.md has recipes.",
    ],
    examples: &[
        ("larder export .larder-export --touched-since-job", "what this run of a CI had a use for"),
        ("larder export - | zstd > cache.tar.zst", "one file"),
    ],
    statuses: &[
        (0, "everything is there"),
        (1, "it could not be done"),
        (2, "wrong use"),
        (4, "some records are damaged and were left out"),
    ],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const IMPORT: Command = Command {
    name: "import",
    what: "take what `larder export` has written into the store",
    about: &[
        "Every piece is compared with its name, and each record checked as one that comes from a \
         remote tier. What the store has already stays. With `trusted_keys` or `signing_key` an \
         export has to be signed by one of these.",
    ],
    operands: &[Operand {
        name: "DIR",
        count: Count::One,
        kind: Kind::Directory,
        what: "the directory of an export; - reads its archive from stdin",
    }],
    flags: &[
        Flag {
            name: "check",
            what: "only compare the pieces with their names, and the signature, as after a \
                   transfer",
            ..Flag::NONE
        },
        Flag::JSON,
    ],
    statuses: &[
        (0, "everything is there"),
        (1, "it could not be done, or is not signed as it has to be"),
        (2, "wrong use"),
        (4, "some pieces or records are missing or damaged; all others are there"),
    ],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const INSPECT: Command = Command {
    name: "inspect",
    what: "show what an entry says: header, sections, sizes, checksums, times",
    about: &["Everything is read and checked."],
    operands: &[ENTRY],
    flags: &[Flag::JSON],
    statuses: &[(0, "it is whole"), (1, "it is damaged, or there is none"), (2, "wrong use")],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const LS: Command = Command {
    name: "ls",
    what: "list the entries of the store or of another cache",
    operands: &[CACHE],
    flags: &[
        Flag {
            name: "kind",
            takes: Takes::One("KIND", Kind::Text),
            what: "only these: result, manifest, alias, foreign, blob; in other caches ccache, \
                   ccache-4.0, ccache-3, sccache, sccache-preprocessor",
            ..Flag::NONE
        },
        Flag {
            name: "namespace",
            takes: Takes::One("NAME", Kind::Namespace),
            what: "only those of this namespace; \"\" is none",
            ..Flag::NONE
        },
        Flag {
            name: "prefix",
            takes: Takes::One("DIGITS", Kind::Text),
            what: "only those whose name begins so",
            ..Flag::NONE
        },
        FROM,
        Flag::JSON,
    ],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const CAT: Command = Command {
    name: "cat",
    what: "write a section of an entry to stdout",
    operands: &[
        ENTRY,
        Operand {
            name: "SECTION",
            count: Count::One,
            kind: Kind::Text,
            what: "its number, its kind (object, stderr) or its name, as `larder inspect` shows \
                   them",
        },
    ],
    examples: &[("larder cat 3f9a stderr", "what a compiler said")],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const RM: Command = Command {
    name: "rm",
    what: "remove entries from the store",
    operands: &[Operand {
        name: "KEY",
        count: Count::Some,
        kind: Kind::Text,
        what: "its key, the beginning of that, or the name that its tool gave it",
    }],
    flags: &[Flag::JSON],
    notes: &["The room comes back when the part of the store is evicted in which it stood."],
    run: Some(tools::start),
    ..Command::NONE
};

/// See [`CONVERT`].
pub const DU: Command = Command {
    name: "du",
    what: "show what the room of a cache is used for, by kind, age and namespace",
    operands: &[CACHE],
    flags: &[FROM, Flag::JSON],
    run: Some(tools::start),
    ..Command::NONE
};
