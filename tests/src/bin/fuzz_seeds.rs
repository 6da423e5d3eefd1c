//! Writes valid inputs of every fuzz target: `fuzz_seeds FOLDER` makes FOLDER/TARGET/NUMBER.

use std::path::Path;

use larder_tests::fuzz::TARGETS;
use larder_tests::sample::Random;

/// Inputs of each target.
const COUNT: u64 = 20;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("usage: fuzz_seeds FOLDER");
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        std::fs::create_dir_all(&folder)?;
        for seed in 0..COUNT {
            let bytes = (target.valid)(&mut Random::new(seed));
            std::fs::write(folder.join(format!("seed-{seed}")), bytes)?;
        }
    }
    Ok(())
}
