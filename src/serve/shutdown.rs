//! What SIGTERM and SIGINT do while requests are served.
//!
//! The first signal ends requests: at once, or after they had `--shutdown-timeout` to finish. HTTP
//! stays up meanwhile, so that every reply is delivered; then it closes, and the exit code is 0. A
//! second signal ends the process at once, where vLLM ignores it: whoever asks twice means it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, timeout};

/// How often the requests in flight are counted while they end.
const POLL: Duration = Duration::from_millis(5);
/// How long aborted requests may take to deliver their end, and HTTP to close.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// The work that a shutdown ends.
pub trait Work {
    /// Requests that are not finished.
    fn in_flight(&self) -> usize;
    /// Ends those that come later.
    fn refuse_new(&self);
    /// Ends all of them now, and those that come later.
    fn abort_all(&self);
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Asked to, and all is said and done.
    Asked,
    /// By a second signal of this number.
    Forced(i32),
    /// HTTP stopped without being asked.
    Alone,
}

impl Ended {
    /// The exit code: 128 and the signal for a forced end, as shells count.
    pub fn code(self) -> u8 {
        match self {
            Self::Asked => 0,
            Self::Alone => 1,
            Self::Forced(signal) => 128u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        }
    }
}

/// Runs `http` until it ends or `signals` ask for the end. `close` tells `http` to finish.
pub async fn serve_until_asked(
    http: impl Future<Output = ()>,
    close: oneshot::Sender<()>,
    work: &impl Work,
    drain: Duration,
    signals: &mut mpsc::Receiver<i32>,
) -> Ended {
    let mut http = pin!(http);
    tokio::select! {
        () = &mut http => return Ended::Alone,
        Some(_) = signals.recv() => {}
    }
    log::info!("[shutdown] API server: shutdown triggered");
    let mode = if drain.is_zero() { "abort" } else { "drain" };
    let seconds = drain.as_secs();
    log::info!("[shutdown] API server: stopping engine client mode={mode} timeout={seconds}s");
    let finish = async {
        let mut served = false;
        tokio::select! {
            () = &mut http => served = true,
            () = end_work(work, drain) => log::info!("[shutdown] API server: engine stopped"),
        }
        // HTTP may be gone already; then nobody listens.
        let _ = close.send(());
        if !served && timeout(GRACE, &mut http).await.is_err() {
            log::warn!("[shutdown] connections are still open after {} s", GRACE.as_secs());
        }
    };
    tokio::select! {
        () = finish => Ended::Asked,
        Some(signal) = signals.recv() => Ended::Forced(signal),
    }
}

/// Gives requests `drain` to finish, then aborts the rest and waits for their last words.
async fn end_work(work: &impl Work, drain: Duration) {
    work.refuse_new();
    if drain.is_zero() || !idle_before(work, Instant::now() + drain).await {
        work.abort_all();
        if !idle_before(work, Instant::now() + GRACE).await {
            let left = work.in_flight();
            log::warn!("[shutdown] {left} aborted requests did not end in {} s", GRACE.as_secs());
        }
    }
}

async fn idle_before(work: &impl Work, deadline: Instant) -> bool {
    let mut ticks = interval(POLL);
    while work.in_flight() > 0 {
        if Instant::now() >= deadline {
            return false;
        }
        ticks.tick().await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Requests that end by themselves after some looks, or when aborted.
    #[derive(Default)]
    struct Fake {
        in_flight: AtomicUsize,
        looks_left: AtomicUsize,
        aborts: AtomicUsize,
        refusals: AtomicUsize,
    }

    impl Fake {
        fn new(in_flight: usize, looks: usize) -> Self {
            let fake = Self::default();
            fake.in_flight.store(in_flight, Relaxed);
            fake.looks_left.store(looks, Relaxed);
            fake
        }
    }

    impl Work for Fake {
        fn in_flight(&self) -> usize {
            let looks = self.looks_left.load(Relaxed);
            if looks == 0 {
                self.in_flight.store(0, Relaxed);
            } else {
                self.looks_left.store(looks - 1, Relaxed);
            }
            self.in_flight.load(Relaxed)
        }

        fn refuse_new(&self) {
            self.refusals.fetch_add(1, Relaxed);
        }

        fn abort_all(&self) {
            self.aborts.fetch_add(1, Relaxed);
            self.looks_left.store(0, Relaxed);
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().expect("a runtime").block_on(future)
    }

    /// Serves `work` until `signals` came, with an HTTP that closes when told (or never).
    fn run(work: &Fake, drain: Duration, signals: &[i32], http_closes: bool) -> Ended {
        block_on(async {
            let (send, mut receive) = mpsc::channel(8);
            for signal in signals {
                send.send(*signal).await.expect("room");
            }
            let (close, closed) = oneshot::channel();
            let http = async {
                let _ = closed.await;
                if !http_closes {
                    std::future::pending::<()>().await;
                }
            };
            serve_until_asked(http, close, work, drain, &mut receive).await
        })
    }

    #[test]
    fn the_default_aborts_and_exits_well() {
        let work = Fake::new(3, usize::MAX);
        assert_eq!(run(&work, Duration::ZERO, &[15], true), Ended::Asked);
        assert!(work.aborts.load(Relaxed) >= 1);
        assert_eq!(Ended::Asked.code(), 0);
    }

    #[test]
    fn a_drain_lets_requests_finish() {
        let work = Fake::new(3, 4);
        assert_eq!(run(&work, Duration::from_secs(60), &[2], true), Ended::Asked);
        assert_eq!((work.aborts.load(Relaxed), work.refusals.load(Relaxed)), (0, 1));
    }

    #[test]
    fn a_drain_ends_at_its_deadline() {
        let work = Fake::new(3, usize::MAX);
        assert_eq!(run(&work, Duration::from_millis(20), &[15], true), Ended::Asked);
        assert_eq!(work.aborts.load(Relaxed), 1);
    }

    #[test]
    fn a_second_signal_ends_at_once() {
        let work = Fake::new(1, usize::MAX);
        assert_eq!(run(&work, Duration::from_secs(600), &[15, 2], true), Ended::Forced(2));
        let work = Fake::new(0, 0);
        assert_eq!(run(&work, Duration::ZERO, &[15, 15], false), Ended::Forced(15));
        assert_eq!((Ended::Forced(2).code(), Ended::Forced(15).code()), (130, 143));
    }

    #[test]
    fn http_that_ends_by_itself_is_a_failure() {
        let ended = block_on(async {
            let (_send, mut signals) = mpsc::channel(1);
            let (close, _closed) = oneshot::channel();
            let work = Fake::new(0, 0);
            serve_until_asked(async {}, close, &work, Duration::ZERO, &mut signals).await
        });
        assert_eq!((ended, ended.code()), (Ended::Alone, 1));
    }
}
