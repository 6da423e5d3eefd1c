//! The outputs of a compile that has just succeeded, as sections of a result.
//!
//! 1. A result has every required output, none of them empty; otherwise nothing is stored.
//! 2. A mode is kept as 0666 or 0777: what the compiler asked for before the umask.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use larder_engine::{Section, SectionKind};

use crate::compiler::Compile;
use crate::outcome::{Counter, Reason};

/// Reads every output of `compile`.
///
/// # Errors
/// If a required one is missing, empty or no regular file, or one cannot be read.
pub fn collect(compile: &Compile) -> Result<Vec<Section<'static>>, Reason> {
    let mut sections = Vec::with_capacity(compile.outputs.len() + 3);
    for output in &compile.outputs {
        let section = read(&output.path, output.kind)?;
        match section {
            Some(section) if section.data.is_empty() && output.required => {
                let text = format!("{} is empty", output.path.display());
                return Err(Reason::new(Counter::CompilerProducedEmptyOutput, text));
            }
            Some(section) => sections.push(section),
            None if output.required => return Err(missing(&output.path)),
            None => {}
        }
    }
    if let Some(depfile) = &compile.depfile {
        let section = read(&depfile.path, SectionKind::Dependencies)?;
        sections.push(section.ok_or_else(|| missing(&depfile.path))?);
    }
    Ok(sections)
}

fn missing(path: &Path) -> Reason {
    Reason::new(Counter::CompilerProducedNoOutput, format!("{} was not made", path.display()))
}

/// The file as a section, `None` if there is none.
fn read(path: &Path, kind: SectionKind) -> Result<Option<Section<'static>>, Reason> {
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
    let mut data = Vec::with_capacity(metadata.size() as usize + 1);
    file.read_to_end(&mut data).map_err(cannot)?;
    let mode = if metadata.mode() & 0o111 != 0 { 0o777 } else { 0o666 };
    Ok(Some(Section::new(kind, data).mode(mode)))
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
            read(&path, SectionKind::Object).unwrap().unwrap().mode
        };
        assert_eq!(mode(0o600), 0o666);
        assert_eq!(mode(0o750), 0o777);
    }

    #[test]
    fn links_and_directories_are_no_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs::write(dir.path().join("a.o"), "object").unwrap();
        symlink("a.o", &link).unwrap();
        assert!(read(&link, SectionKind::Object).is_err());
        assert!(read(dir.path(), SectionKind::Object).is_err());
        assert!(read(&dir.path().join("none"), SectionKind::Object).unwrap().is_none());
    }
}
