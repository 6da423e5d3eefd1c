//! larder: tests.
