//! Sockets: accepting, limits, timeouts, shutdown.

use super::call::Call;
use super::egress::{Egress, Sending, Watched};
use super::frontend::Frontend;
use super::{guard, request_log, routes};
use crate::telemetry::logs;
use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How long to wait after the system refused a connection, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listeners` until `shutdown` is done; then accepts no more, closes idle connections and
/// returns when the requests in work are answered.
pub async fn serve(
    listeners: Vec<TcpListener>,
    frontend: Arc<Frontend>,
    shutdown: impl Future<Output = ()>,
) {
    request_log::announce(&frontend.options);
    let (stop, stopped) = watch::channel(false);
    let room =
        Arc::new(Semaphore::new(frontend.options.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        acceptors.spawn(accept(listener, frontend.clone(), room.clone(), stopped.clone()));
    }
    drop(stopped);
    shutdown.await;
    stop.send_replace(true);
    while acceptors.join_next().await.is_some() {}
}

/// Accepts connections until told to stop, then waits for those that are open.
async fn accept(
    listener: TcpListener,
    frontend: Arc<Frontend>,
    room: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = room.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            Some((accepted, place)) = next => match accepted {
                Ok((stream, peer)) => {
                    let client = Client { frontend: frontend.clone(), peer, _place: place };
                    connections.spawn(serve_connection(stream, client, stopped.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Who is at the other end, and the place that the connection takes.
struct Client {
    frontend: Arc<Frontend>,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

async fn serve_connection(stream: TcpStream, client: Client, mut stopped: watch::Receiver<bool>) {
    // Tokens go out one by one; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let (frontend, peer) = (&client.frontend, client.peer);
    let options = &frontend.options;
    let keep_alive = options.keep_alive_timeout;
    let (idle_since, idle) = watch::channel(None);
    let idle_since = Arc::new(idle_since);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(options.max_headers)
        .max_buf_size(options.max_header_bytes.max(8192));
    let egress = Arc::new(Egress::default());
    let service = service_fn(|request| {
        let (frontend, egress) = (frontend.clone(), egress.clone());
        let busy = Busy::new(idle_since.clone());
        async move {
            let said = frontend.options.access_log.then(|| request_line(&request));
            let path = routes::path(&frontend, &request);
            let call = Call::begin(&frontend, request.method(), path, request.headers());
            let response = routes::respond_to(frontend, call.clone(), request).await;
            call.replied(response.status());
            if let Some(said) = said {
                log::info!(
                    target: logs::ACCESS,
                    request_id:% = request_log::reply_id(&response),
                    trace_id:% = request_log::TraceId(call.span());
                    "{peer} - {said} {}", response.status()
                );
            }
            Ok::<_, Infallible>(guard::hold(response, (busy, Sending::new(call, egress))))
        }
    });
    let stream = TokioIo::new(Watched::new(stream, egress.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut expired = pin!(expires(idle, keep_alive));
    let mut is_closing = *stopped.borrow();
    if is_closing {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            // Whatever a client did to its connection concerns nobody else.
            _ = connection.as_mut() => return,
            _ = stopped.changed(), if !is_closing => {}
            () = &mut expired, if !is_closing => {}
        }
        is_closing = true;
        connection.as_mut().graceful_shutdown();
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
