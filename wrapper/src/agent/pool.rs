//! Threads that are kept: what a wrapper wants is often done sooner than a thread is started.
//!
//! There are as many as there were jobs at one time; one that has had nothing to do for
//! [`IDLE`] ends.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lock::lock;

/// How long a thread waits for the next job.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Clone, Default)]
pub struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    /// Threads that wait, and are not yet meant by a job.
    waiting: usize,
}

impl Pool {
    /// Runs a job, in a thread that waits or in a new one: at once in any case, or never, if the
    /// system gives no thread. A job that panics ends alone.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.0.state);
        if state.waiting > 0 {
            state.waiting -= 1;
            state.jobs.push(Box::new(job));
            drop(state);
            self.0.changed.notify_one();
            return;
        }
        drop(state);
        let shared = self.0.clone();
        drop(thread::Builder::new().spawn(move || shared.work(Box::new(job))));
    }
}

impl Shared {
    fn work(&self, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            let _ = panic::catch_unwind(AssertUnwindSafe(job));
            next = self.next();
        }
    }

    /// The next job, or `None` if there was none for a while.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        state.waiting += 1;
        let waited = self.changed.wait_timeout_while(state, IDLE, |state| state.jobs.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop();
        if job.is_none() {
            state.waiting -= 1;
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::mpsc;

    #[test]
    fn jobs_run_at_one_time_and_threads_are_used_again() {
        let pool = Pool::default();
        let mut threads = HashSet::new();
        for _ in 0..20 {
            // Each job waits for the other: two threads are needed.
            let (to_one, of_one) = mpsc::channel();
            let (to_two, of_two) = mpsc::channel();
            let (tell, told) = mpsc::channel();
            let tell_too = tell.clone();
            pool.run(move || {
                to_two.send(()).unwrap();
                of_one.recv().unwrap();
                tell.send(thread::current().id()).unwrap();
            });
            pool.run(move || {
                to_one.send(()).unwrap();
                of_two.recv().unwrap();
                tell_too.send(thread::current().id()).unwrap();
            });
            threads.extend(told.iter());
            // Both wait again.
            while lock(&pool.0.state).waiting < 2 {
                thread::yield_now();
            }
        }
        assert_eq!(threads.len(), 2);
    }

    #[test]
    fn a_job_that_panics_ends_alone() {
        let pool = Pool::default();
        pool.run(|| panic!("on purpose"));
        while lock(&pool.0.state).waiting < 1 {
            thread::yield_now();
        }
        let (tell, told) = mpsc::channel();
        pool.run(move || tell.send(1).unwrap());
        assert_eq!(told.recv(), Ok(1));
    }
}
