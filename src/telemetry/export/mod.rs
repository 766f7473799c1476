//! The export thread: from finished spans to a collector that may be slow, down or unwilling.
//!
//! One thread with a small runtime of its own owns the connection. It writes spans down, sends
//! them in batches, tries again as OpenTelemetry's Python exporters do, and counts what is lost.
//! Nothing that happens here is ever waited for by a request.

mod batch;
mod endpoint;
mod grpc;
mod health;
mod http;
mod limits;
mod resource;
mod retry;
mod tls;
mod transport;

use super::trace::{Queue, Queued};
use crate::config::TracingSettings;
use batch::Batches;
use health::Health;
use retry::Retrying;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use transport::Transport;

/// How long a submission may take, generously.
const FILLING: Duration = Duration::from_millis(1);

/// When to be gone; `None` while nobody asked.
type Closing = watch::Receiver<Option<Instant>>;

/// A handle on the export thread. Dropped, it tells the thread to end at once.
#[derive(Debug)]
pub(super) struct Thread {
    closing: watch::Sender<Option<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Waits until the thread has sent what it could within `bound`.
    pub fn end(&mut self, bound: Duration) {
        // Nobody listens any more when the thread is gone already.
        self.closing.send_replace(Some(Instant::now() + bound));
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the thread that exports spans panicked");
        }
    }
}

/// Prepares the way to the collector and starts the thread.
///
/// # Errors
/// One sentence: what in the settings makes it impossible.
pub(super) fn start(
    settings: &TracingSettings,
    queue: Arc<Queue>,
    receiver: Receiver<Queued>,
) -> Result<Thread, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_name("telemetry-http")
        .build()
        .map_err(|error| format!("no runtime to export spans: {error}"))?;
    let transport = {
        // The connection is made later, but belongs to this runtime.
        let _inside = runtime.enter();
        Transport::new(&settings.exporter)?
    };
    let (closing, closed) = watch::channel(None);
    let exporter = Exporter {
        batches: Batches::new(settings, receiver),
        retrying: Retrying::new(transport, settings.exporter.timeout, closed.clone()),
        health: Health::new(&settings.exporter, settings.batch.max_queue_size),
        delay: settings.batch.schedule_delay,
        closing: closed,
        queue,
    };
    let thread = std::thread::Builder::new()
        .name("telemetry".to_owned())
        .spawn(move || run(runtime, exporter))
        .map_err(|error| format!("no thread to export spans: {error}"))?;
    Ok(Thread { closing, thread: Some(thread) })
}

/// Until the end, or until the time for it is over. What is left is lost with the exporter, and
/// its tickets count it.
fn run(runtime: Runtime, exporter: Exporter) {
    let deadline = past_deadline(exporter.closing.clone());
    runtime.block_on(async {
        tokio::select! {
            () = exporter.run() => {}
            () = deadline => {}
        }
    });
    // A request over HTTP that hangs is not waited for.
    runtime.shutdown_background();
}

async fn past_deadline(mut closing: Closing) {
    // Without its sender there is no time left at all.
    let deadline = closing.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

/// Everything the thread owns.
struct Exporter {
    queue: Arc<Queue>,
    batches: Batches,
    retrying: Retrying,
    health: Health,
    delay: Duration,
    closing: Closing,
}

impl Exporter {
    async fn run(mut self) {
        self.probe().await;
        while !self.is_closing() {
            let late = self.wait().await;
            // When time is up, whatever there is; otherwise full batches only.
            let mut due = late;
            while due || self.queue.has_batch() {
                if !self.send_batch().await {
                    // Room was taken in the queue by someone who has not filled it yet.
                    sleep(FILLING).await;
                    break;
                }
                due = false;
            }
            self.health.watch_queue(self.queue.stats());
        }
        while self.send_batch().await {}
    }

    fn is_closing(&self) -> bool {
        self.closing.borrow().is_some() || self.closing.has_changed().is_err()
    }

    /// Until a full batch waits, the delay is over (true), or the end is near.
    async fn wait(&mut self) -> bool {
        let until = Instant::now() + self.delay;
        let mut closing = self.closing.clone();
        while !self.queue.has_batch() {
            tokio::select! {
                _ = closing.wait_for(Option::is_some) => return false,
                woken = timeout_at(until, self.queue.full_batch()) => {
                    if woken.is_err() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Says once at start whether the collector answers: an empty export asks it.
    async fn probe(&mut self) {
        let mut closing = self.closing.clone();
        tokio::select! {
            _ = closing.wait_for(Option::is_some) => {}
            answer = self.retrying.once(self.batches.empty()) => self.health.probed(answer),
        }
    }

    /// Sends one batch; false when there was none, or when the end is near and it failed.
    async fn send_batch(&mut self) -> bool {
        let Some(mut batch) = self.batches.next(&self.queue) else { return false };
        for (body, spans) in batch.bodies.drain(..) {
            match self.retrying.deliver(body).await {
                Ok(accepted) => {
                    batch.ticket.exported(spans, accepted.rejected);
                    self.health.delivered(accepted, self.queue.stats());
                }
                // The rest is lost at the end, not by the collector.
                Err(_) if self.is_closing() => return false,
                Err(refusal) => {
                    batch.ticket.failed(spans);
                    self.health.failed(&refusal.reason);
                }
            }
        }
        true
    }
}
