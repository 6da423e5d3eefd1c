//! The least that a warm hit can be: stat every header once, decompress the object, write it.
//!
//! ```text
//! floor LIST PACKED OUTPUT
//! ```
//!
//! `LIST` has one path per line, `PACKED` is one zstd frame. Build it static, as larder is.

use std::error::Error;
use std::fs;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, list, packed, output] = &arguments[..] else {
        return Err("usage: floor LIST PACKED OUTPUT".into());
    };
    let mut bytes = 0;
    for header in fs::read_to_string(list)?.lines() {
        bytes += fs::metadata(header)?.len();
    }
    let packed = fs::read(packed)?;
    let object = larder_engine::codec::decompress_frame(&packed)?;
    let mut file = fs::File::create_new(output)?;
    file.write_all(&object)?;
    // The sizes must have been asked for.
    if bytes == 0 { Err("no headers".into()) } else { Ok(()) }
}
