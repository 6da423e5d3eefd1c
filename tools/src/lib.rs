//! larder: tools.
