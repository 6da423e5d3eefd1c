//! What is in the key of a Rust crate.
//!
//! | input | in the key? | why |
//! |---|---|---|
//! | namespace | yes | results are shared only within one |
//! | toolchain | yes | contents of the driver, its libraries, and the target's standard library |
//! | words | yes | with their boundaries, see `arguments` |
//! | crate types, test harness | yes | decide what is made |
//! | emitted kinds, notifications | yes | decide what is made and said; paths do not count |
//! | source | yes | its name is in debug information and messages; named from the working directory where rustc does so, see `checkout` |
//! | working directory | yes | in debug information and metadata; where rustc maps it away it counts in the manifest, if something else shows it or may |
//! | externs | yes | name, modifiers and contents; not their paths, which show in no output |
//! | searched directories | yes | names and contents of libraries that may be found there, but for `dependency`: what those directories have is named by hash in the externs |
//! | named files | yes | contents; those of `extra_files_to_hash`, too |
//! | `extra_inputs` | yes | names and contents |
//! | words for the linker, and its variables | where something is linked | `-C link-arg`, `LIBRARY_PATH` and the like |
//! | the linker, what it reads, what it looks for in vain | in the manifest, where something is linked | its dependency file and command line name them |
//! | processor | where `native` is said | |
//! | output directory | with split debug information, for Windows and UEFI | the library names the files beside it, objects their own path |
//! | `CARGO_CRATE_NAME`, `RUST_MIN_STACK` | yes | whether messages speak of cargo; whether rustc runs at all |
//! | `RUSTC_BOOTSTRAP`, `RUSTC_FORCE_RUSTC_VERSION` | yes | allow features; the version that metadata name |
//! | `MACOSX_DEPLOYMENT_TARGET` and the like | yes | stands in objects for Apple's systems, and in no dependency file |
//! | `RUSTC_OVERRIDE_VERSION_STRING` | yes | from which version on something counts as deprecated |
//! | `RUST_TARGET_PATH`, `RUSTC_LOG` | no | where targets are described, further messages: such a call is not cached |
//! | `CLIPPY_ARGS`, `CLIPPY_CONF_DIR`, `CARGO_PKG_RUST_VERSION`, `SYSROOT` | for clippy | which lints, for which version, where the standard library is |
//! | crates behind the externs | in the manifest | the externs name them by hash, but they have to be there |
//! | `CARGO_*` | in the manifest, where a proc macro may read them | but for those that only steer cargo |
//! | `OUT_DIR` | in the manifest, where a proc macro may read it | value and contents |
//! | variables that `env!` reads | in the manifest | dep-info names them |
//! | messages' form | where there are messages | colours, width, JSON |
//! | `LD_LIBRARY_PATH` | no | cargo sets it for build scripts and macros; the toolchain finds its own libraries beside it |

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::Key;

use super::arguments::{Crate, Extern};
use super::checkout::Checkout;
use crate::digest::Digest;
use crate::place::MARK;

/// Increased whenever what is hashed changes its meaning.
const SCHEME: u32 = 5;

/// Variables that count for each crate.
pub const VARIABLES: &[&str] = &[
    "CARGO_CRATE_NAME",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "LD_PRELOAD",
    "MACOSX_DEPLOYMENT_TARGET",
    "RUSTC_BOOTSTRAP",
    "RUSTC_FORCE_RUSTC_VERSION",
    "RUSTC_OVERRIDE_VERSION_STRING",
    "RUST_MIN_STACK",
    "TVOS_DEPLOYMENT_TARGET",
    "WATCHOS_DEPLOYMENT_TARGET",
    "XROS_DEPLOYMENT_TARGET",
];

/// And those that count for clippy, too.
pub const CLIPPY_VARIABLES: &[&str] = &[
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PRIMARY_PACKAGE",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "CLIPPY_DISABLE_DOCS_LINKS",
    "SYSROOT",
];

/// Beginnings of cargo's variables that no crate is made of: they say how cargo works.
const OF_CARGO_ALONE: &[&str] = &[
    "CARGO_BUILD_JOBS",
    "CARGO_BUILD_RUSTC",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_HTTP_",
    "CARGO_INCREMENTAL",
    "CARGO_LOG",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TARGET_DIR",
    "CARGO_TERM_",
];

/// Whether a variable counts where a proc macro may read it.
pub fn may_be_read(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name == b"OUT_DIR"
        || name.starts_with(b"CARGO")
            && !OF_CARGO_ALONE.iter().any(|start| name.starts_with(start.as_bytes()))
}

/// Everything that the direct key of a crate is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Results are shared only within one.
    pub namespace: &'a str,
    /// Identity of the toolchain.
    pub toolchain: &'a Digest,
    /// The call.
    pub made: &'a Crate,
    /// The working directory.
    pub directory: &'a Path,
    /// What stands for it and for the source, if other checkouts may have the crate.
    pub checkout: Option<&'a Checkout>,
    /// The contents of each extern's file; `None` where none is named.
    pub externs: &'a [(&'a Extern, Option<Digest>)],
    /// Libraries in directories that are searched: name and contents.
    pub searched: &'a [(String, Digest)],
    /// Named files: the contents count.
    pub named: &'a [(PathBuf, Digest)],
    /// What stands at the further inputs that the settings name.
    pub extra: Option<&'a Digest>,
    /// What `native` stands for.
    pub native: Option<&'a Digest>,
    /// Names and values of variables that count, sorted.
    pub variables: &'a [(Vec<u8>, Option<Vec<u8>>)],
    /// Words for the linker, if one runs.
    pub link_words: &'a [String],
}

/// The direct key.
pub fn direct_key(facts: &Facts<'_>) -> Key {
    let Facts { made, .. } = facts;
    let mut fields = Fields::new("rust");
    fields.bytes(facts.namespace.as_bytes());
    fields.bytes(facts.toolchain);
    fields.texts(made.key_words.iter().map(String::as_bytes));
    fields.texts(made.types.iter().map(|kind| format!("{kind:?}").into_bytes()));
    fields.bytes(&[u8::from(made.is_test), u8::from(made.notifies)]);
    fields.texts(made.emit.iter().map(|(emit, _)| emit.name().as_bytes()));
    fields.bytes(made.name.as_bytes());
    let (source, directory) = match facts.checkout {
        Some(checkout) => (checkout.source(), &[MARK][..]),
        None => (made.source.as_os_str().as_bytes(), facts.directory.as_os_str().as_bytes()),
    };
    fields.bytes(source);
    fields.bytes(directory);
    fields.number(facts.externs.len() as u64);
    for (external, digest) in facts.externs {
        fields.bytes(external.modifiers.as_bytes());
        fields.bytes(external.name.as_bytes());
        fields.optional(digest.as_ref().map(|digest| &digest[..]));
    }
    fields.number(facts.searched.len() as u64);
    for (name, digest) in facts.searched {
        fields.bytes(name.as_bytes());
        fields.bytes(digest);
    }
    fields.texts(facts.named.iter().map(|(_, digest)| &digest[..]));
    fields.optional(facts.extra.map(|digest| &digest[..]));
    fields.optional(facts.native.map(|digest| &digest[..]));
    // The library names the files of debug information that stand beside it.
    let split = made.split_debuginfo.as_deref().is_some_and(|kind| kind != "off");
    let is_named = |target: &str| {
        ["msvc", "uefi", "windows", ".json"].iter().any(|part| target.contains(part))
    };
    let split = split || made.target.as_deref().is_some_and(is_named);
    let beside = made.out_dir.as_deref().filter(|_| split);
    fields.optional(beside.map(|path| path.as_os_str().as_bytes()));
    fields.number(facts.variables.len() as u64);
    for (name, value) in facts.variables {
        fields.bytes(name);
        fields.optional(value.as_deref());
    }
    fields.texts(facts.link_words.iter().map(String::as_bytes));
    fields.key()
}

/// The key of a result: what it was made of, and which messages it has.
pub fn result_key<'a>(
    direct: &Key,
    inputs: impl Iterator<Item = (&'a [u8], &'a Digest)>,
    messages: u64,
) -> Key {
    let mut fields = Fields::new("rust result");
    fields.bytes(direct.as_bytes());
    for (path, digest) in inputs {
        fields.bytes(path);
        fields.bytes(digest);
    }
    fields.number(messages);
    fields.key()
}

/// Where it is remembered what a toolchain consists of for crates of a target, for one start of the
/// machine.
pub fn toolchain_key(program: &Path, target: Option<&str>, is_whole: bool, boot: &[u8; 16]) -> Key {
    let mut fields = Fields::new("rust toolchain");
    fields.bytes(program.as_os_str().as_bytes());
    fields.optional(target.map(str::as_bytes));
    fields.bytes(&[u8::from(is_whole)]);
    fields.bytes(boot);
    fields.key()
}

/// Where it is remembered what rustup has answered in a state of everything that it looks at.
pub fn rustup_key<'a>(state: impl ExactSizeIterator<Item = &'a [u8]>) -> Key {
    let mut fields = Fields::new("rustup");
    fields.texts(state);
    fields.key()
}

/// Where it is remembered what stands behind a crate, by the contents of its file.
pub fn crate_key(contents: &Digest) -> Key {
    let mut fields = Fields::new("rust crate");
    fields.bytes(contents);
    fields.key()
}

/// Where it is remembered what `native` means, for one start of the machine.
pub fn native_key(toolchain: &Digest, boot: &[u8; 16]) -> Key {
    let mut fields = Fields::new("rust native");
    fields.bytes(toolchain);
    fields.bytes(boot);
    fields.key()
}

/// A hasher of fields, each with its length before it.
struct Fields(blake3::Hasher);

impl Fields {
    fn new(kind: &str) -> Fields {
        let mut fields = Fields(blake3::Hasher::new());
        fields.bytes(b"larder");
        fields.bytes(kind.as_bytes());
        fields.number(u64::from(SCHEME));
        fields
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.number(u64::from(bytes.is_some()));
        self.bytes(bytes.unwrap_or_default());
    }

    fn texts<T: AsRef<[u8]>>(&mut self, texts: impl ExactSizeIterator<Item = T>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.bytes(text.as_ref()));
    }

    fn key(self) -> Key {
        Key::from_bytes(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::arguments::parse;
    use super::*;

    fn key_of(line: &str) -> Key {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        direct_key(&Facts {
            namespace: "",
            toolchain: &Digest::default(),
            made: &parse(&words).unwrap(),
            directory: Path::new("/w"),
            checkout: None,
            externs: &[],
            searched: &[],
            named: &[],
            extra: None,
            native: None,
            variables: &[],
            link_words: &[],
        })
    }

    #[test]
    fn an_output_directory_counts_where_it_stands_in_what_is_made() {
        for (more, counts) in [
            ("", false),
            ("-C split-debuginfo=off", false),
            ("-C split-debuginfo=unpacked", true),
            ("--target x86_64-unknown-linux-musl", false),
            ("--target x86_64-pc-windows-msvc", true),
            ("--target aarch64-unknown-uefi", true),
            ("--target own.json", true),
        ] {
            let of = |out: &str| {
                key_of(&format!("--crate-name a a.rs --crate-type lib {more} --out-dir {out}"))
            };
            assert_eq!(of("/one") != of("/two"), counts, "{more}");
        }
    }
}
