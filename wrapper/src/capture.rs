//! The outputs of a compile that has just succeeded, as sections of a result.
//!
//! 1. A result has every required output, and a main output that is not empty; otherwise nothing is
//!    stored.
//! 2. A further output counts only if this run has written it: one that an earlier run has left
//!    is none of it.
//! 3. A mode is kept as 0666 or 0777: what the compiler asked for before the umask.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use larder_engine::env::map::Map;
use larder_engine::{Data, Section, SectionKind};

use crate::compiler::Compile;
use crate::outcome::{Counter, Reason};

/// From so many bytes on, a file is stored from where the kernel has it: mapping it then costs less
/// than memory for a copy.
const MAPPED_BYTES_MIN: u64 = 128 << 10;

/// Reads every output of `compile`, which began at `started_ns`.
///
/// # Errors
/// If a required one is missing or no regular file, the main one is empty, or one cannot be read.
pub fn collect(compile: &Compile, started_ns: u64) -> Result<Vec<Section<'static>>, Reason> {
    let mut sections = Vec::with_capacity(compile.outputs.len() + 3);
    for output in &compile.outputs {
        let is_main = output.is_main();
        let since_ns = if is_main && output.required { 0 } else { started_ns };
        let section = read(&output.path, output.kind, since_ns)?;
        match section {
            Some(section) if section.data.is_empty() && is_main => {
                let text = format!("{} is empty", output.path.display());
                return Err(Reason::new(Counter::CompilerProducedEmptyOutput, text));
            }
            Some(section) => sections.push(section.name(output.name.as_bytes())),
            None if output.required => return Err(missing(&output.path)),
            None => {}
        }
    }
    if let Some(depfile) = &compile.depfile {
        let section = read(&depfile.path, SectionKind::Dependencies, 0)?;
        sections.push(section.ok_or_else(|| missing(&depfile.path))?);
    }
    Ok(sections)
}

/// The dependency file that a failed compile has written, if it was to write one.
///
/// # Errors
/// If it wrote none since `started_ns`, or it cannot be read.
pub fn dependencies(
    compile: &Compile,
    started_ns: u64,
) -> Result<Option<Section<'static>>, Reason> {
    let Some(depfile) = &compile.depfile else { return Ok(None) };
    let section = read(&depfile.path, SectionKind::Dependencies, started_ns)?;
    section.map(Some).ok_or_else(|| missing(&depfile.path))
}

fn missing(path: &Path) -> Reason {
    Reason::new(Counter::CompilerProducedNoOutput, format!("{} was not made", path.display()))
}

/// The file as a section, `None` if there is none that changed since then.
pub fn read(
    path: &Path,
    kind: SectionKind,
    since_ns: u64,
) -> Result<Option<Section<'static>>, Reason> {
    let bad = |text: String| Reason::new(Counter::BadOutputFile, text);
    let open =
        File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(format!("cannot read {}: {error}", path.display()))),
    };
    let cannot = |error: io::Error| bad(format!("cannot read {}: {error}", path.display()));
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(bad(format!("{} is no regular file", path.display())));
    }
    if changed_ns(&metadata) < since_ns {
        return Ok(None);
    }
    let data = bytes_of(&mut file, metadata.size()).map_err(cannot)?;
    let mode = if metadata.mode() & 0o111 != 0 { 0o777 } else { 0o666 };
    Ok(Some(Section::new(kind, data).mode(mode)))
}

/// The bytes of a file that was made, and that nobody writes any more.
fn bytes_of(file: &mut File, bytes: u64) -> io::Result<Data<'static>> {
    if bytes >= MAPPED_BYTES_MIN
        && let Ok(map) = Map::of_file(file, bytes as usize)
    {
        return Ok(Data::lent(map));
    }
    let mut data = Vec::with_capacity(bytes as usize + 1);
    file.read_to_end(&mut data)?;
    Ok(data.into())
}

/// ctime in nanoseconds since 1970.
fn changed_ns(metadata: &Metadata) -> u64 {
    let ns = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    u64::try_from(ns).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_mode_is_kept_without_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.o");
        fs::write(&path, "object").unwrap();
        let mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path, SectionKind::Object, 0).unwrap().unwrap().mode
        };
        assert_eq!(mode(0o600), 0o666);
        assert_eq!(mode(0o750), 0o777);
    }

    /// The story: an optional output that a compile did not write would have been taken from an
    /// earlier one, and handed out as part of the later.
    #[test]
    fn what_an_earlier_run_has_left_is_no_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.dwo");
        fs::write(&path, "old").unwrap();
        let changed = changed_ns(&fs::metadata(&path).unwrap());
        let read = |since_ns| read(&path, SectionKind::DwarfObject, since_ns).unwrap();
        assert!(read(changed).is_some());
        assert!(read(changed + 1).is_none());
    }

    #[test]
    fn links_and_directories_are_no_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs::write(dir.path().join("a.o"), "object").unwrap();
        symlink("a.o", &link).unwrap();
        assert!(read(&link, SectionKind::Object, 0).is_err());
        assert!(read(dir.path(), SectionKind::Object, 0).is_err());
        assert!(read(&dir.path().join("none"), SectionKind::Object, 0).unwrap().is_none());
    }
}
