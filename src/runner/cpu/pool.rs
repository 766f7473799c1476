//! Fork and join over a fixed set of threads, in about a microsecond when they are awake.
//!
//! A decode step is hundreds of phases of some hundred microseconds each, so threads that wait for
//! the next phase spin, but only for a bound: on a shared or idle machine they then park. The
//! caller takes part, and a phase never waits for a thread that did not join it in time: a worker
//! that the operating system did not run costs its help, not its delay.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread spins before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// [`Shared::state`]: how many workers are inside the phase ...
const ACTIVE: u64 = 0xffff;
/// ... whether it still takes workers ...
const OPEN: u64 = 1 << 16;
/// ... and its number, so that a worker joins each phase once.
const PHASE: u64 = 1 << 17;

type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// What the threads share.
struct Shared {
    state: AtomicU64,
    /// The next item to be taken, and how many there are.
    next: AtomicUsize,
    items: AtomicUsize,
    /// Written by the caller while the phase is closed, read by workers inside it.
    job: UnsafeCell<Option<*const Job<'static>>>,
    parked: Vec<AtomicBool>,
    /// Whether the caller sleeps until the last worker has left, and what it sleeps on.
    caller_sleeps: AtomicBool,
    last_left: (Mutex<()>, Condvar),
    panicked: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: the cell is written only while the phase is closed and no worker is inside it, and read
// only by workers inside it; `state` orders the two. What it points to may be called anywhere.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// The threads. Dropping it ends them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `threads` in all: the caller of [`Pool::run`] and `threads - 1` workers.
    ///
    /// # Errors
    /// The operating system's, when it gives no more threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let workers = threads.clamp(1, ACTIVE as usize) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            parked: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            caller_sleeps: AtomicBool::new(false),
            last_left: (Mutex::new(()), Condvar::new()),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(workers) };
        let (started, starts) = channel();
        for index in 0..workers {
            let shared = pool.shared.clone();
            let name = format!("cpu-{}", index + 1);
            let started = started.clone();
            let worker = thread::Builder::new().name(name).spawn(move || {
                // The receiver is gone only when another worker could not be started.
                let _ = started.send(());
                drop(started);
                shared.work(index);
            })?;
            pool.workers.push(worker);
        }
        drop(started);
        // What a thread takes to start, memory above all, is no part of a step.
        starts.iter().for_each(drop);
        Ok(pool)
    }

    /// How many threads take part, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(thread, item)` once for each item below `items`, on whichever thread is free, in
    /// ascending order of taking, and returns when all calls have. `thread` is below
    /// [`Pool::threads`] and tells concurrent calls apart. Panics if a call did.
    pub fn run(&mut self, items: usize, job: &Job<'_>) {
        if items <= 1 || self.workers.is_empty() {
            (0..items).for_each(|item| job(0, item));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: the phase is closed and empty (`Phase` saw to it), so nothing reads the cell; the
        // lifetime is only hidden: `Phase` does not let go before all workers have left.
        unsafe {
            let job = std::mem::transmute::<*const Job<'_>, *const Job<'static>>(job);
            *shared.job.get() = Some(job);
        }
        shared.next.store(0, Relaxed);
        shared.items.store(items, Relaxed);
        let number = shared.state.load(Relaxed) / PHASE + 1;
        shared.state.store(number * PHASE + OPEN, SeqCst);
        let phase = Phase(shared);
        for (worker, parked) in self.workers.iter().zip(&shared.parked).take(items - 1) {
            if parked.load(SeqCst) && parked.swap(false, SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.take_items(0, job);
        drop(phase);
        assert!(!shared.panicked.load(Relaxed), "a kernel panicked on a worker thread");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker's panic was reported by `run`.
            let _ = worker.join();
        }
    }
}

/// An open phase; dropping it closes it and waits until every worker has left.
struct Phase<'a>(&'a Shared);

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        shared.state.fetch_and(!OPEN, SeqCst);
        let left = || shared.state.load(SeqCst) & ACTIVE == 0;
        if spin_until(left) {
            return;
        }
        shared.caller_sleeps.store(true, SeqCst);
        let (lock, wake) = &shared.last_left;
        let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !left() {
            guard = wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        shared.caller_sleeps.store(false, SeqCst);
    }
}

/// Whether `done` came true within [`SPIN`].
fn spin_until(done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    let start = Instant::now();
    loop {
        for _ in 0..32 {
            std::hint::spin_loop();
            if done() {
                return true;
            }
        }
        if start.elapsed() > SPIN {
            return false;
        }
    }
}

impl Shared {
    /// Takes items until none is left.
    fn take_items(&self, thread: usize, job: &Job<'_>) {
        let items = self.items.load(Relaxed);
        loop {
            let item = self.next.fetch_add(1, Relaxed);
            if item >= items {
                return;
            }
            job(thread, item);
        }
    }

    /// The life of worker `index`.
    fn work(&self, index: usize) {
        let mut last = 0;
        while let Some(number) = self.join_after(index, last) {
            last = number;
            // SAFETY: inside the phase, so the cell holds its job, which outlives the phase.
            let job = unsafe { (*self.job.get()).map(|job| &*job) };
            let run = AssertUnwindSafe(|| {
                if let Some(job) = job {
                    self.take_items(index + 1, job);
                }
            });
            if catch_unwind(run).is_err() {
                self.panicked.store(true, Relaxed);
            }
            self.leave();
        }
    }

    /// Leaves the phase and wakes the caller if it sleeps for the last worker.
    fn leave(&self) {
        let before = self.state.fetch_sub(1, SeqCst);
        if before & (ACTIVE | OPEN) == 1 && self.caller_sleeps.load(SeqCst) {
            let (lock, wake) = &self.last_left;
            drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
            wake.notify_one();
        }
    }

    /// Waits for a phase after number `last` that is open, joins it and returns its number; `None`
    /// when the pool ends.
    fn join_after(&self, index: usize, last: u64) -> Option<u64> {
        let is_new = || {
            let state = self.state.load(SeqCst);
            (state & OPEN != 0 && state / PHASE != last) || self.stop.load(SeqCst)
        };
        loop {
            while !spin_until(is_new) {
                self.parked[index].store(true, SeqCst);
                while !is_new() && self.parked[index].load(SeqCst) {
                    thread::park();
                }
                self.parked[index].store(false, SeqCst);
            }
            if self.stop.load(SeqCst) {
                return None;
            }
            let state = self.state.load(SeqCst);
            let joined = state & OPEN != 0
                && state / PHASE != last
                && self.state.compare_exchange(state, state + 1, SeqCst, SeqCst).is_ok();
            if joined {
                return Some(state / PHASE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_however_many_threads() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for items in [0, 1, 2, 7, 100] {
                for _ in 0..50 {
                    let calls: Vec<AtomicUsize> = (0..items).map(|_| 0.into()).collect();
                    pool.run(items, &|thread, item| {
                        assert!(thread < threads);
                        calls[item].fetch_add(1, Relaxed);
                    });
                    assert!(calls.iter().all(|calls| calls.load(Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn workers_come_back_after_they_parked() {
        let mut pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            while !pool.shared.parked[0].load(SeqCst) {
                thread::yield_now();
            }
            // Both items wait for each other, so both threads must have come.
            let arrived = AtomicUsize::new(0);
            pool.run(2, &|_, _| {
                arrived.fetch_add(1, SeqCst);
                while arrived.load(SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_can_be_dropped() {
        let mut pool = Pool::new(2).unwrap();
        let run = AssertUnwindSafe(|| pool.run(8, &|_, item| assert!(item != 5)));
        assert!(catch_unwind(run).is_err());
    }
}
