//! Mutexes of threads of which one may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards; that another thread panicked changes nothing of it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
