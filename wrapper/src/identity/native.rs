//! What `native` means on this machine.
//!
//! 1. The driver is asked (`-###`) with every option of the call that is about the machine; the
//!    commands that it would run hold the expansion, and their digest is in the keys.
//! 2. The answer is remembered in the store under toolchain, options and the kernel's description
//!    of the processor, without what changes by itself. So a hit starts no process, and another
//!    processor is asked anew. Two processors with one expansion share results.
//! 3. Where the cores of a processor differ, a compiler's own answer is a matter of chance, and so
//!    is this one; the description is that of the first core.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use larder_engine::{Entry, RecordKind, Section, SectionKind, Store};

use super::{Toolchain, run};
use crate::compiler::Compile;
use crate::digest::Digest;
use crate::fingerprint::native_key;
use crate::outcome::{Counter, Reason};

const DESCRIPTION: &str = "/proc/cpuinfo";
/// A core takes some 1.5 KB; without an empty line after it the whole file is read.
const DESCRIPTION_BYTES_MAX: u64 = 4 << 20;
const PIECE_BYTES: u64 = 4096;
/// Lines about the speed of the moment.
const CHANGING: [&[u8]; 4] = [b"cpu MHz", b"bogomips", b"BogoMIPS", b"clock"];
/// gcc asks the processor for the sizes of its caches.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";
const CACHE_COUNT: usize = 4;

/// The digest of what `native` stands for in `compile`; `None` if it does not stand there.
///
/// # Errors
/// `CompilerCheckFailed` if processor or driver do not tell.
pub fn expansion(
    compile: &Compile,
    compiler: &Path,
    toolchain: &Toolchain,
    store: &Store,
) -> Result<Option<Digest>, Reason> {
    if compile.native.is_empty() {
        return Ok(None);
    }
    let failed = |text: String| Reason::new(Counter::CompilerCheckFailed, text);
    let processor = processor()
        .map_err(|error| failed(format!("{DESCRIPTION} does not tell the processor: {error}")))?;
    let key = native_key(&toolchain.contents, compiler, &compile.native, &processor);
    if let Ok(Some(record)) = store.get(&key)
        && let Ok(bytes) = record.read(0)
        && let Ok(digest) = Digest::try_from(bytes)
    {
        return Ok(Some(digest));
    }
    let digest = ask(compile, compiler).map_err(failed)?;
    let section = Section::new(SectionKind::Data, digest.to_vec());
    // An expansion that cannot be remembered is asked for again.
    let _ = store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
    Ok(Some(digest))
}

/// Digest of the commands that the driver would run for an empty input. It is asked in the root
/// directory, because some of them name the working directory.
fn ask(compile: &Compile, compiler: &Path) -> Result<Digest, String> {
    let compiler = std::path::absolute(compiler).map_err(|error| error.to_string())?;
    let mut command = Command::new(&compiler);
    command.args(&compile.native).args(["-###", "-E", "-x", "c", "/dev/null"]).current_dir("/");
    let output = run(&mut command)?;
    let lines = output.stderr.split(|byte| *byte == b'\n');
    let commands: Vec<&[u8]> = lines.filter(|line| line.starts_with(b" ")).collect();
    if !output.status.success() || commands.is_empty() {
        return Err(format!("{} does not tell what native is", compiler.display()));
    }
    Ok(*blake3::hash(&commands.join(&b'\n')).as_bytes())
}

/// Digest of what the kernel says of the processor.
fn processor() -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&lasting(&description()?));
    for index in 0..CACHE_COUNT {
        // Not every machine tells them.
        let size = fs::read(format!("{CACHES}/index{index}/size")).unwrap_or_default();
        hasher.update(&size).update(b"\n");
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The description of the first core on x86, where the others are described alike and the kernel
/// takes its time with each; elsewhere all of it.
fn description() -> io::Result<Vec<u8>> {
    let file = File::open(DESCRIPTION)?;
    let mut text = Vec::new();
    let mut rest = file.take(DESCRIPTION_BYTES_MAX);
    while rest.by_ref().take(PIECE_BYTES).read_to_end(&mut text)? > 0 {
        let end = text.windows(2).position(|pair| pair == b"\n\n");
        if let Some(end) = end.filter(|_| cfg!(any(target_arch = "x86", target_arch = "x86_64"))) {
            text.truncate(end + 1);
            break;
        }
    }
    if text.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(text)
}

/// The lines that stay as they are while the processor does.
fn lasting(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| !CHANGING.iter().any(|name| line.starts_with(name)))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_no_part_of_a_processor_and_features_are() {
        let core = |speed: &str, flags: &str| {
            lasting(format!("model\t: 85\ncpu MHz\t\t: {speed}\nflags\t: {flags}\n").as_bytes())
        };
        assert_eq!(core("2000.0", "avx"), core("3141.5", "avx"));
        assert_ne!(core("2000.0", "avx"), core("2000.0", "avx sse"));
    }

    #[test]
    fn this_processor_has_a_description_that_stays() {
        match (processor(), processor()) {
            (Ok(first), Ok(second)) => assert_eq!(first, second),
            _ => println!("skipped: the kernel does not describe the processor"),
        }
    }
}
