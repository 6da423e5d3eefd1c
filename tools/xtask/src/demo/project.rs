//! The projects of the demo, and how their sources come out of their crates.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Outcome;
use crate::workspace;

/// Which compiler of a toolchain a project needs.
#[derive(Clone, Copy)]
pub enum Language {
    /// C.
    C,
    /// C++.
    Cpp,
}

impl Language {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Language::C => "C",
            Language::Cpp => "C++",
        }
    }
}

/// A project that compiles unit by unit, without a configure step.
pub struct Project {
    /// How the report calls it.
    pub name: &'static str,
    /// What it is written in.
    pub language: Language,
    /// The options of every unit.
    pub options: &'static [&'static str],
    /// The crate that carries it, and the folder therein.
    carrier: &'static str,
    folder: &'static str,
    /// The folders with units, and how a unit's name ends.
    unit_folders: &'static [&'static str],
    unit_suffix: &'static str,
    /// Names with this in them are for other systems.
    left_out: &'static str,
}

/// All projects that this program compiles itself. Of one in Rust cargo knows the units.
pub const PROJECTS: &[Project] = &[
    Project {
        name: "zstd",
        language: Language::C,
        options: &[
            "-O2",
            "-Wall",
            "-DZSTD_DISABLE_ASM",
            "-DZSTD_MULTITHREAD",
            "-DZSTD_LEGACY_SUPPORT=1",
            "-DXXH_NAMESPACE=ZSTD_",
            "-Ilib",
        ],
        carrier: "zstd-sys",
        folder: "zstd",
        unit_folders: &[
            "lib/common",
            "lib/compress",
            "lib/decompress",
            "lib/deprecated",
            "lib/dictBuilder",
            "lib/legacy",
        ],
        unit_suffix: ".c",
        left_out: "windows",
    },
    Project {
        name: "leveldb",
        language: Language::Cpp,
        options: &[
            "-std=c++17",
            "-O2",
            "-Wall",
            "-DLEVELDB_PLATFORM_POSIX=1",
            "-DLEVELDB_IS_BIG_ENDIAN=0",
            "-DHAVE_FDATASYNC=1",
            "-DHAVE_O_CLOEXEC=1",
            "-I.",
            "-Iinclude",
        ],
        carrier: "leveldb-sys",
        folder: "deps/leveldb-1.22",
        unit_folders: &["db", "table", "util"],
        unit_suffix: ".cc",
        left_out: "windows",
    },
];

impl Project {
    /// Copies the sources to `folder`/src, once; returns where they stand.
    pub fn unpack(&self, folder: &Path) -> Outcome<PathBuf> {
        let sources = folder.join("src").join(self.name);
        if !sources.exists() {
            let carrier = self.fetch()?.join(self.folder);
            let beside = sources.with_extension("new");
            if beside.exists() {
                fs::remove_dir_all(&beside)?;
            }
            copy_tree(&carrier, &beside)?;
            fs::rename(&beside, &sources)?;
        }
        Ok(sources)
    }

    /// Has cargo fetch the crate in the locked version; returns its folder.
    fn fetch(&self) -> Outcome<PathBuf> {
        let manifest = workspace::root().join("tools/xtask/demo/Cargo.toml");
        let triple = workspace::host_triple()?;
        let manifest = format!("--manifest-path={}", manifest.display());
        let platform = format!("--filter-platform={triple}");
        let metadata = workspace::metadata(&[&manifest, "--locked", &platform])?;
        let packages =
            metadata["packages"].as_array().ok_or("`cargo metadata` names no package")?;
        let package = packages.iter().find(|package| package["name"] == self.carrier);
        let manifest = package.and_then(|package| package["manifest_path"].as_str());
        let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
        Ok(folder.ok_or_else(|| format!("cargo did not fetch {}", self.carrier))?.to_path_buf())
    }

    /// The units, relative to the sources, in order.
    pub fn units(&self, sources: &Path) -> Outcome<Vec<PathBuf>> {
        let mut units = Vec::new();
        for folder in self.unit_folders {
            for entry in fs::read_dir(sources.join(folder))? {
                let name = entry?.file_name();
                let text = name.to_string_lossy();
                if text.ends_with(self.unit_suffix) && !text.contains(self.left_out) {
                    units.push(Path::new(folder).join(&name));
                }
            }
        }
        units.sort();
        Ok(units)
    }
}

fn copy_tree(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
