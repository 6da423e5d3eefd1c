//! Whether an ELF file asks for a dynamic loader: the one fact that tells a static program, plain
//! or position-independent, from a dynamic one.

use crate::process::Outcome;

/// The program header type of the loader's name.
const PT_INTERP: u64 = 3;

/// Whether the file, a 64-bit little-endian ELF program, names a loader.
pub fn has_interpreter(file: &[u8]) -> Outcome<bool> {
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("not a 64-bit little-endian ELF file".into());
    }
    let headers_offset = number(file, 32, 8)?;
    let header_bytes = number(file, 54, 2)?;
    let header_count = number(file, 56, 2)?;
    for index in 0..header_count {
        let offset = headers_offset.saturating_add(index.saturating_mul(header_bytes));
        if number(file, offset, 4)? == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The little-endian number of `bytes` bytes at `offset`.
fn number(file: &[u8], offset: u64, bytes: usize) -> Outcome<u64> {
    let start = usize::try_from(offset)?;
    let end = start.checked_add(bytes).ok_or("an ELF header points outside the file")?;
    let field = file.get(start..end).ok_or("an ELF header points outside the file")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with these program header types and nothing else.
    fn program(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = types.len() as u8;
        for kind in types {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn a_loader_is_found_wherever_it_stands() {
        assert!(!has_interpreter(&program(&[1, 2])).unwrap());
        assert!(has_interpreter(&program(&[3, 1])).unwrap());
        assert!(has_interpreter(&program(&[6, 1, 3])).unwrap());
    }

    #[test]
    fn a_cut_or_foreign_file_is_an_error() {
        assert!(has_interpreter(b"#!/bin/sh").is_err());
        let mut file = program(&[1, 1]);
        file.truncate(100);
        assert!(has_interpreter(&file).is_err());
    }

    #[test]
    fn this_test_is_dynamic() {
        if cfg!(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static"))) {
            let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
            assert!(has_interpreter(&file).unwrap());
        }
    }
}
