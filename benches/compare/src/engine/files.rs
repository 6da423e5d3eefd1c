//! One file per entry as ccache lays it out: two levels of directories, a temporary file and a
//! rename.

use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};

use super::{CHECK_BYTES, Engine, KEY_BYTES, check};

pub struct Files {
    directory: PathBuf,
    made: u64,
}

pub fn open(directory: &Path) -> Files {
    Files { directory: directory.to_path_buf(), made: 0 }
}

impl Files {
    fn path(&self, key: &[u8; KEY_BYTES]) -> PathBuf {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(&name[..1]).join(&name[1..2]).join(&name[2..])
    }
}

impl Engine for Files {
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool {
        let path = self.path(key);
        self.made += 1;
        let beside = path.with_extension(format!("{}-{}", std::process::id(), self.made));
        let mut file = match File::create_new(&beside) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().expect("a file stands in a directory"))
                    .expect("a directory can be made");
                File::create_new(&beside)
            }
            other => other,
        }
        .expect("a file can be made");
        let digest = check(value);
        let count = file
            .write_vectored(&[IoSlice::new(value), IoSlice::new(&digest)])
            .expect("the disk works");
        assert_eq!(count, value.len() + CHECK_BYTES, "a write was cut short");
        fs::rename(&beside, &path).expect("a file can be renamed");
        true
    }

    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
        let mut value = match fs::read(self.path(key)) {
            Ok(stored) => stored,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("the disk works: {error}"),
        };
        let expected = value.split_off(value.len() - CHECK_BYTES);
        assert_eq!(check(&value), *expected, "a value is damaged");
        Some(value)
    }
}
