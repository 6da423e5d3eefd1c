//! The store, as the settings want it opened.

use std::path::Path;

use larder_engine::{Options, RecordLayout, Store};

use crate::config::Config;

/// Opens the store as the configuration says.
///
/// # Errors
/// As [`Store::open`].
pub fn open_store(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    let mut options = Options::new()
        .max_size_bytes(config.max_size_bytes.value)
        .zstd_level(config.compression_level.value)
        .job(config.job.value.clone())
        .file_mode(0o666 & !config.umask.value)
        .read_only(config.is_read_only());
    if config.file_clone.value {
        options = options.layout(RecordLayout::Cloneable).clone_bytes_min(None);
    }
    Store::open(path, options)
}

/// Opens a lower store: to read it, and for no job.
///
/// # Errors
/// As [`Store::open`].
pub fn open_lower(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    let mut config = config.clone();
    config.readonly.value = true;
    config.job.value = None;
    open_store(&config, path)
}
