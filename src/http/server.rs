//! Sockets: accepting, limits, timeouts, shutdown.

use super::call::Call;
use super::egress::{self, Egress, Watched};
use super::frontend::Frontend;
use super::socket::{Listener, Socket, Stream};
use super::watchdog::{Trouble, Watchdog};
use super::{request_log, routes};
use crate::telemetry::logs;
use crate::telemetry::metrics::Limit;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long to wait after the system refused a connection, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client that is one too many may take to read so, and how many may at a time.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSALS: usize = 256;
/// What it reads.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nserver: uvicorn\r\n\
    content-type: application/json\r\ncontent-length: 124\r\nconnection: close\r\n\r\n\
    {\"error\":{\"message\":\"The server has as many connections as it takes.\",\
    \"type\":\"Service Unavailable\",\"param\":null,\"code\":503}}";

/// Serves `listeners` until `shutdown` is done; then accepts no more, closes idle connections and
/// returns when the requests in work are answered.
pub async fn serve(
    listeners: Vec<Listener>,
    frontend: Arc<Frontend>,
    shutdown: impl Future<Output = ()>,
) {
    request_log::announce(&frontend.options);
    let (stop, stopped) = watch::channel(false);
    let places = frontend.options.transport.connections;
    let room = Room {
        places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
    };
    let mut acceptors = JoinSet::new();
    let mut refreshers = JoinSet::new();
    for listener in listeners {
        if let Some(tls) = listener.tls().cloned() {
            refreshers.spawn(async move { tls.refresh().await });
        }
        acceptors.spawn(accept(listener, frontend.clone(), room.clone(), stopped.clone()));
    }
    drop(stopped);
    shutdown.await;
    stop.send_replace(true);
    while acceptors.join_next().await.is_some() {}
}

/// Places for connections, and for telling those that get none.
#[derive(Clone)]
struct Room {
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// Accepts connections until told to stop, then waits for those that are open.
async fn accept(
    listener: Listener,
    frontend: Arc<Frontend>,
    room: Room,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => match room.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let client = Client::new(frontend.clone(), peer, place);
                        let tls = listener.tls().cloned();
                        let stopped = stopped.clone();
                        connections.spawn(async move {
                            let descriptor = socket.as_raw_fd();
                            let stream = match tls {
                                None => Some(Stream::Plain(socket)),
                                Some(tls) => client.shake_hands(&tls, socket).await,
                            };
                            if let Some(stream) = stream {
                                serve_connection(stream, descriptor, client, stopped).await;
                            }
                        });
                    }
                    Err(_) => {
                        frontend.metrics.transport.met(Limit::Connections);
                        // Without TLS there are words for it.
                        let telling = room.refusals.clone().try_acquire_owned();
                        if let (None, Ok(telling)) = (listener.tls(), telling) {
                            connections.spawn(refuse(socket, telling));
                        }
                    }
                },
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Tells a client that there is no place for it.
async fn refuse(mut socket: Socket, _telling: OwnedSemaphorePermit) {
    let tell = async {
        socket.write_all(REFUSAL).await?;
        socket.shutdown().await?;
        // A socket that is closed before all is read resets the connection, answer and all.
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(REFUSAL_TIME, tell).await;
}

/// Who is at the other end, and the place that the connection takes.
struct Client {
    frontend: Arc<Frontend>,
    /// Empty for a Unix socket.
    peer: String,
    _place: OwnedSemaphorePermit,
}

impl Client {
    fn new(frontend: Arc<Frontend>, peer: String, place: OwnedSemaphorePermit) -> Self {
        frontend.metrics.transport.connections(1);
        Self { frontend, peer, _place: place }
    }

    async fn shake_hands(&self, tls: &super::Tls, socket: Socket) -> Option<Stream> {
        let limit = self.frontend.options.transport.head_time;
        match timeout(limit, tls.accept(socket)).await {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                log::debug!("no TLS with {}: {error}", self.peer);
                None
            }
            Err(_) => {
                self.frontend.metrics.transport.met(Limit::Handshake);
                None
            }
        }
    }

    /// Answers one request.
    async fn answer(&self, request: Request<Incoming>) -> (Call, Response<Body>) {
        let frontend = &self.frontend;
        let is_said = frontend.options.access_log
            && !frontend
                .options
                .access_log_excluded
                .iter()
                .any(|path| path == request.uri().path());
        let said = is_said.then(|| request_line(&request));
        let path = routes::path(frontend, request.uri().path());
        let call = Call::begin(frontend, request.method(), path, request.headers());
        let response = routes::respond_to(frontend.clone(), call.clone(), request).await;
        call.replied(response.status());
        if let Some(said) = said {
            log::info!(
                target: logs::ACCESS,
                request_id:% = request_log::reply_id(&response),
                trace_id:% = request_log::TraceId(call.span());
                "{} - {said} {}", self.peer, response.status()
            );
        }
        (call, response)
    }

    fn met(&self, limit: Limit) {
        self.frontend.metrics.transport.met(limit);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.frontend.metrics.transport.connections(-1);
    }
}

async fn serve_connection(
    stream: Stream,
    descriptor: i32,
    client: Client,
    mut stopped: watch::Receiver<bool>,
) {
    let client = &client;
    let options = &client.frontend.options;
    let limits = &options.transport;
    let (idle_since, idle) = watch::channel(None);
    let idle_since = Arc::new(idle_since);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    let egress = Arc::new(Egress::new());
    let service = service_fn(|request| {
        let egress = egress.clone();
        let busy = Busy::new(idle_since.clone());
        async move {
            let (call, response) = client.answer(request).await;
            Ok::<_, Infallible>(egress::send(response, call, egress, busy))
        }
    });
    let stream = TokioIo::new(Watched::new(stream, egress.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut expired = pin!(expires(idle, options.keep_alive_timeout));
    let watchdog = Watchdog { egress: &egress, descriptor, limit: limits.send_time };
    let mut trouble = pin!(watchdog.watch(options.connection_check));
    let mut is_closing = *stopped.borrow();
    if is_closing {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            // Whatever a client did to its connection concerns nobody else.
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    note(client, &error);
                }
                return;
            }
            trouble = trouble.as_mut() => {
                if trouble == Trouble::Stalled {
                    client.met(Limit::SendTime);
                }
                return;
            }
            _ = stopped.changed(), if !is_closing => {}
            () = &mut expired, if !is_closing => client.met(Limit::IdleTime),
        }
        is_closing = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// Counts why a connection ended, when a limit did it.
fn note(client: &Client, error: &hyper::Error) {
    if error.is_parse_too_large() {
        client.met(Limit::HeadSize);
    } else if error.is_timeout() {
        client.met(Limit::HeadTime);
    }
}

/// `"GET /health HTTP/1.1"`, with the quotes.
fn request_line<B>(request: &Request<B>) -> String {
    format!("\"{} {} {:?}\"", request.method(), request.uri(), request.version())
}

/// Ends when no request has been in work for `timeout`, after the first one.
async fn expires(mut idle: watch::Receiver<Option<Instant>>, timeout: Duration) {
    loop {
        let since = *idle.borrow_and_update();
        let expiry = async {
            match since {
                Some(since) => sleep_until(since + timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expiry => return,
            changed = idle.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// A request in work; when it ends, its connection is idle.
struct Busy(Arc<watch::Sender<Option<Instant>>>);

impl Busy {
    fn new(idle_since: Arc<watch::Sender<Option<Instant>>>) -> Self {
        idle_since.send_replace(None);
        Self(idle_since)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_replace(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn a_refusal_has_the_length_that_it_says() {
        let text = std::str::from_utf8(REFUSAL).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).expect("JSON");
    }
}
