//! larder: benches.
