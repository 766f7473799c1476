//! The publisher's thread.

use super::address::{self, Bound, Listener};
use super::core::Core;
use super::encode::Encoder;
use super::queue::{EventSink, Queue};
use super::replay::Replay;
use super::stats::EventStats;
use super::subscriber::Subscriber;
use crate::config::{EventAddress, EventEndpoint, KvEventsSettings};
use crate::types::{Clock, HashAlgo, KvEvent};
use crate::zmq::{self, Peers, Role, Stream, report, serve};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// In front of log lines.
const WHAT: &str = "KV events";
/// What batches may take to reach subscribers when the server ends; as in vLLM.
const LINGER: Duration = Duration::from_secs(1);
/// Between attempts to connect: the first, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
const CONNECT: Duration = Duration::from_secs(5);
/// Most connections of a socket at one time.
const MOST_CONNECTIONS: usize = 256;
/// Batches between which other tasks of the thread get their turn.
const TURN: usize = 16;

/// The engine behind the events.
#[derive(Clone, Debug)]
pub struct Source {
    /// Tokens in a block.
    pub block_size: usize,
    pub hash_algo: HashAlgo,
    /// The clock of the batches' times.
    pub clock: Clock,
}

/// Why events cannot be published.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("KV events: cannot bind {address}: {error}")]
    Bind { address: EventAddress, error: io::Error },
    #[error("KV events: no thread for the publisher: {0}")]
    Thread(io::Error),
}

/// A running publisher. Dropping it sends what is left, for at most a second, and ends it.
#[derive(Debug)]
pub struct Publisher {
    queue: Arc<Queue>,
    stats: Arc<EventStats>,
    endpoint: String,
    replay_endpoint: Option<String>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread starts with.
struct Start {
    settings: KvEventsSettings,
    source: Source,
    queue: Arc<Queue>,
    stats: Arc<EventStats>,
    /// `None`: the endpoint is connected to.
    events: Option<Bound>,
    replay: Option<Bound>,
}

impl Publisher {
    /// Binds and starts.
    ///
    /// # Errors
    /// When an address cannot be bound. One that is connected to may not be there yet.
    pub fn start(settings: KvEventsSettings, source: Source) -> Result<Self, StartError> {
        let bind = |address: &EventAddress| {
            address::bind(address, settings.node_ip.as_deref())
                .map_err(|error| StartError::Bind { address: address.clone(), error })
        };
        let (events, endpoint) = match &settings.endpoint {
            EventEndpoint::Bind(address) => {
                let (bound, address) = bind(address)?;
                (Some(bound), address.to_string())
            }
            EventEndpoint::Connect(address) => (None, address.to_string()),
        };
        let (replay, replay_endpoint) = match settings.replay_endpoint.as_ref().map(bind) {
            Some(bound) => {
                let (bound, address) = bound?;
                (Some(bound), Some(address.to_string()))
            }
            None => (None, None),
        };
        let stats = Arc::new(EventStats::default());
        let queue = Arc::new(Queue::new(settings.max_queue_size, Arc::clone(&stats)));
        let start = Start {
            settings,
            source,
            queue: Arc::clone(&queue),
            stats: Arc::clone(&stats),
            events,
            replay,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("kv-events".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, run(start)))
            .map_err(StartError::Thread)?;
        Ok(Self { queue, stats, endpoint, replay_endpoint, thread: Some(thread) })
    }

    /// Where the engine puts what it did.
    pub fn sink(&self) -> EventSink {
        self.queue.sink()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Arc<EventStats> {
        Arc::clone(&self.stats)
    }

    /// The address of the events, with the port that the system chose.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The address of the replay, likewise.
    pub fn replay_endpoint(&self) -> Option<&str> {
        self.replay_endpoint.as_deref()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("KV events: the publisher's thread had failed");
        }
    }
}

async fn run(start: Start) {
    let Start { settings, source, queue, stats, events, replay } = start;
    let encoder = Encoder {
        form: settings.encoding,
        int_hashes: settings.int_hashes,
        digest_len: source.hash_algo.digest_len(),
        block_size: source.block_size,
        rank: settings.rank,
    };
    let bounds = (settings.hwm, settings.buffer_steps);
    let core = Rc::new(Core::new(encoder, settings.topic, bounds, source.clock, stats));
    match (events, settings.endpoint) {
        (Some(bound), _) => {
            spawn_local(accept(bound, Rc::clone(&core), Subscriber::new));
        }
        (None, EventEndpoint::Connect(address) | EventEndpoint::Bind(address)) => {
            spawn_local(stay_connected(address, Rc::clone(&core)));
        }
    }
    if let Some(bound) = replay {
        spawn_local(accept(bound, Rc::clone(&core), Replay::new));
    }
    tokio::select! {
        () = core.heard.notified() => {}
        () = sleep(settings.first_wait) => {}
        () = queue.closed() => {}
    }
    publish(&core, &queue).await;
    // What is not sent by then is lost with the process, as the replay is.
    let _ = timeout(LINGER, core.all_drained()).await;
}

/// Publishes what the engine pushes until the queue is closed and empty.
async fn publish(core: &Core, queue: &Queue) {
    core.publish(core.clock.now(), &[KvEvent::Cleared]);
    let mut batches = VecDeque::new();
    loop {
        let mut taken = queue.take(batches);
        for (i, batch) in taken.batches.drain(..).enumerate() {
            core.publish(batch.time, &batch.events);
            if i % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        if let Some((time, merged)) = taken.merged {
            core.publish_merged(time, merged);
        }
        if taken.closed {
            return;
        }
        batches = taken.batches;
        queue.filled().await;
    }
}

async fn accept<R: Role + 'static>(bound: Bound, core: Rc<Core>, role: fn(Rc<Core>) -> R) {
    let listener = match Listener::new(bound) {
        Ok(listener) => listener,
        Err(error) => return log::error!("{WHAT}: {} socket: {error}", R::SOCKET),
    };
    let peers = Peers { what: WHAT, most: MOST_CONNECTIONS, stay: None };
    zmq::serve_all(peers, async || listener.accept().await, || role(Rc::clone(&core))).await;
}

/// Connects, and connects again, for as long as the thread lives.
async fn stay_connected(address: EventAddress, core: Rc<Core>) {
    let mut pause = RETRY[0];
    let mut complained = false;
    loop {
        match connect(&address).await {
            Ok(stream) => {
                log::info!("KV events: connected to {address}");
                (pause, complained) = (RETRY[0], false);
                report::<Subscriber>(
                    WHAT,
                    serve(stream, &mut Subscriber::new(Rc::clone(&core))).await,
                );
            }
            Err(error) if !complained => {
                log::warn!("KV events: {address} does not answer, and is tried on: {error}");
                complained = true;
            }
            Err(_) => pause = (pause * 2).min(RETRY[1]),
        }
        sleep(pause).await;
    }
}

async fn connect(address: &EventAddress) -> io::Result<Stream> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(CONNECT, address::connect(address)).await.map_err(late)?
}
