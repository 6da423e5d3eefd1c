//! The store, as the settings want it opened.

use std::path::Path;

use larder_engine::{Options, RecordLayout, Store};

use crate::config::{Config, LEVEL_NONE};

/// Opens the store as the configuration says.
///
/// # Errors
/// As [`Store::open`].
pub fn open_store(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    Store::open(path, options(config))
}

/// Opens a lower store: to read it, and for no job.
///
/// # Errors
/// As [`Store::open`].
pub fn open_lower(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    Store::open(path, options(config).read_only(true).job(None))
}

fn options(config: &Config) -> Options {
    let options = Options::new()
        .max_size_bytes(config.max_size_bytes.value)
        .zstd_level(config.zstd_level())
        .job(config.job.value.clone())
        .file_mode(0o666 & !config.umask.value)
        .read_only(config.is_read_only());
    match config.file_clone.value {
        true => options.layout(RecordLayout::Cloneable).clone_bytes_min(None),
        false if config.compression_level.value == LEVEL_NONE => options.layout(RecordLayout::Raw),
        false => options,
    }
}
