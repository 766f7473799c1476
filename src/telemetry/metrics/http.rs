//! HTTP requests by path, method and status, as prometheus-fastapi-instrumentator counts them.
//!
//! Paths, methods and statuses are from fixed lists, so there is a bound on series; each appears
//! when it is first used, in that order.

use super::text::{Counted, Labels, Measured, Page, Summed};
use super::unix_seconds;
use crate::types::Histogram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

/// The handler of paths that lead nowhere.
const NONE: &str = "none";
/// Requests to paths with one of these in them are not counted.
const EXCLUDED: [&str; 6] = ["/metrics", "/health", "/load", "/ping", "/version", "/server_info"];
/// Methods of requests.
pub const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const COARSE_BOUNDS: [f64; 3] = [0.1, 0.5, 1.0];
const FINE_BOUNDS: [f64; 21] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0,
    7.5, 10.0, 30.0, 60.0,
];

/// A request and its reply.
#[derive(Clone, Copy, Debug)]
pub struct HttpExchange {
    /// From [`HttpMetrics::handler`].
    pub handler: usize,
    /// An index into [`METHODS`].
    pub method: usize,
    pub status: u16,
    /// What the request's `Content-Length` says, or 0.
    pub request_bytes: u64,
    /// The same of the reply; 0 when it is streamed.
    pub response_bytes: u64,
    /// To the end of the reply's body.
    pub took: Duration,
}

/// When a series began.
#[derive(Debug, Default)]
struct Birth {
    /// Among all series from 1 on; 0 for a series that was never used.
    order: AtomicU64,
    /// Seconds since the epoch, as bits.
    time: AtomicU64,
}

impl Birth {
    /// Of two that come first together one wins; their times differ by nanoseconds.
    fn mark(&self, born: &AtomicU64) {
        if self.order.load(Relaxed) == 0 {
            self.time.store(unix_seconds().to_bits(), Relaxed);
            let next = born.fetch_add(1, Relaxed) + 1;
            let _ = self.order.compare_exchange(0, next, Release, Relaxed);
        }
    }

    /// The place among all series, and the seconds since the epoch.
    fn get(&self) -> Option<(u64, f64)> {
        let order = self.order.load(Acquire);
        (order > 0).then(|| (order, f64::from_bits(self.time.load(Relaxed))))
    }
}

/// A path's sizes.
#[derive(Debug, Default)]
struct Sizes {
    born: Birth,
    count: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

/// A path's requests with one method.
#[derive(Debug)]
struct Route {
    born: Birth,
    took: Histogram,
    by_status: [(Birth, AtomicU64); 5],
}

/// The HTTP metrics of a server.
#[derive(Debug)]
pub struct HttpMetrics {
    /// The last one is [`NONE`].
    handlers: Vec<&'static str>,
    sizes: Vec<Sizes>,
    /// By handler, then by method; made when first used.
    routes: Vec<OnceLock<Box<Route>>>,
    took: Histogram,
    /// Series that were used.
    born: AtomicU64,
    created: f64,
}

impl HttpMetrics {
    /// For a server with these paths. Nothing counted yet.
    pub(super) fn new(paths: impl IntoIterator<Item = &'static str>, created: f64) -> Self {
        let handlers: Vec<_> = paths.into_iter().chain([NONE]).collect();
        Self {
            sizes: handlers.iter().map(|_| Sizes::default()).collect(),
            routes: (0..handlers.len() * METHODS.len()).map(|_| OnceLock::new()).collect(),
            took: Histogram::of_seconds(&FINE_BOUNDS),
            born: AtomicU64::new(0),
            handlers,
            created,
        }
    }

    /// The handler of a path, or `None` when its requests are not counted. Requests that have no
    /// endpoint share one handler.
    pub fn handler(&self, path: &str, is_known: bool) -> Option<usize> {
        if EXCLUDED.iter().any(|excluded| path.contains(excluded)) {
            return None;
        }
        let known = self.handlers.iter().position(|handler| is_known && *handler == path);
        Some(known.unwrap_or(self.handlers.len() - 1))
    }

    /// Counts a request that is over.
    pub fn count(&self, exchange: &HttpExchange) {
        let route = self.route(exchange.handler, exchange.method);
        let status = usize::from(exchange.status / 100).clamp(1, STATUSES.len()) - 1;
        let (born, count) = &route.by_status[status];
        count.fetch_add(1, Relaxed);
        born.mark(&self.born);
        let sizes = &self.sizes[exchange.handler];
        sizes.count.fetch_add(1, Relaxed);
        sizes.request_bytes.fetch_add(exchange.request_bytes, Relaxed);
        sizes.response_bytes.fetch_add(exchange.response_bytes, Relaxed);
        sizes.born.mark(&self.born);
        self.took.observe_time(exchange.took);
        route.took.observe_time(exchange.took);
        route.born.mark(&self.born);
    }

    fn route(&self, handler: usize, method: usize) -> &Route {
        self.routes[handler * METHODS.len() + method].get_or_init(|| {
            Box::new(Route {
                born: Birth::default(),
                took: Histogram::of_seconds(&COARSE_BOUNDS),
                by_status: Default::default(),
            })
        })
    }

    /// Routes that were used, with their labels.
    fn used(&self) -> impl Iterator<Item = (&'static str, &'static str, &Route)> {
        self.routes.iter().enumerate().filter_map(|(i, route)| {
            let (handler, method) = (i / METHODS.len(), i % METHODS.len());
            Some((self.handlers[handler], METHODS[method], &**route.get()?))
        })
    }

    pub(super) fn write(&self, page: &mut Page) {
        self.write_totals(page);
        self.write_sizes(page);
        page.histogram(
            "http_request_duration_highr_seconds",
            "Time of HTTP requests, to the end of the reply.",
            &[Measured { labels: &[], histogram: &self.took, created: self.created }],
        );
        let mut series: Vec<_> = self
            .used()
            .filter_map(|(handler, method, route)| {
                let labels = [("handler", handler), ("method", method)];
                Some((route.born.get()?, labels, &route.took))
            })
            .collect();
        series.sort_unstable_by_key(|(born, ..)| born.0);
        let measured: Vec<_> = series
            .iter()
            .map(|(born, labels, histogram)| {
                let labels: Labels = labels;
                Measured { labels, histogram, created: born.1 }
            })
            .collect();
        let help = "Time of HTTP requests by path, to the end of the reply.";
        page.histogram("http_request_duration_seconds", help, &measured);
    }

    fn write_totals(&self, page: &mut Page) {
        let mut series: Vec<_> = self
            .used()
            .flat_map(|(handler, method, route)| {
                let statuses = STATUSES.iter().zip(&route.by_status);
                statuses.filter_map(move |(status, (born, count))| {
                    let labels = [("handler", handler), ("method", method), ("status", *status)];
                    Some((born.get()?, labels, count.load(Relaxed)))
                })
            })
            .collect();
        series.sort_unstable_by_key(|(born, ..)| born.0);
        let counted: Vec<_> = series
            .iter()
            .map(|(born, labels, count)| Counted { labels, value: *count as f64, created: born.1 })
            .collect();
        let help = "HTTP requests by method, status and path.";
        page.counter("http_requests", help, &counted);
    }

    fn write_sizes(&self, page: &mut Page) {
        let mut used: Vec<_> = self
            .handlers
            .iter()
            .zip(&self.sizes)
            .filter_map(|(handler, sizes)| {
                Some((sizes.born.get()?, [("handler", *handler)], sizes))
            })
            .collect();
        used.sort_unstable_by_key(|(born, ..)| born.0);
        type Sum = fn(&Sizes) -> &AtomicU64;
        let bytes: [(&str, &str, Sum); 2] = [
            ("http_request_size_bytes", "Content-Length of HTTP requests by path.", |sizes| {
                &sizes.request_bytes
            }),
            (
                "http_response_size_bytes",
                "Content-Length of replies by path; 0 for those that are streamed.",
                |sizes| &sizes.response_bytes,
            ),
        ];
        for (name, help, sum) in bytes {
            let series: Vec<_> = used
                .iter()
                .map(|(born, labels, sizes)| Summed {
                    labels,
                    count: sizes.count.load(Relaxed),
                    sum: sum(sizes).load(Relaxed) as f64,
                    created: born.1,
                })
                .collect();
            page.summary(name, help, &series);
        }
    }
}
