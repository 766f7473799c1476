//! How bytes come in and go out: addresses, TLS, origins, limits of connections.

use super::grammar::Raw;
use super::resolve::{at_least, texts_of_json};
use super::value::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Everything about connections that needs no model.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSettings {
    /// A Unix socket in place of host and port.
    pub uds: Option<PathBuf>,
    /// The path below which a proxy shows this server.
    pub root_path: String,
    /// `None`: plain HTTP.
    pub tls: Option<TlsSettings>,
    pub cors: CorsSettings,
    /// Paths whose requests the access log leaves out.
    pub access_log_excluded: Vec<String>,
    /// Silence in a stream after which a comment is sent; `None`: none is.
    pub sse_keep_alive: Option<Duration>,
    pub docs: Docs,
    pub limits: TransportLimits,
}

/// Certificates of this server and what it asks of clients'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    /// The file with the private key; the certificate's own when `None`.
    pub key: Option<PathBuf>,
    /// Authorities of client certificates.
    pub authorities: Option<PathBuf>,
    pub clients: ClientCertificates,
    /// An OpenSSL cipher list for TLS 1.2.
    pub ciphers: Option<String>,
    /// Read the files again when they change.
    pub refresh: bool,
}

/// Python's `ssl.VerifyMode`, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// 0: not asked for.
    Ignored,
    /// 1: checked when a client has one.
    Optional,
    /// 2: no connection without one.
    Required,
}

/// Which pages may use the API from a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsSettings {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub credentials: bool,
}

/// Pages that describe the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Docs {
    Off,
    /// Their scripts come from a public server.
    Online,
    /// They need no other server.
    Offline,
}

/// Bounds of what a client may send, hold or delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    pub body_bytes: usize,
    pub header_bytes: usize,
    pub headers: usize,
    pub connections: usize,
    /// For a TLS handshake, and for the head of a request.
    pub head_time: Duration,
    /// For the body of a request.
    pub body_time: Duration,
    /// Without any byte taken of a reply.
    pub send_time: Duration,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            header_bytes: 4 << 20,
            headers: 256,
            connections: 16384,
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(120),
            send_time: Duration::from_secs(120),
        }
    }
}

/// Reads the flags. The error is one sentence.
pub(super) fn read(raw: &Raw) -> Result<TransportSettings, String> {
    let (no_docs, offline) =
        (raw.is_on("--disable-fastapi-docs"), raw.is_on("--enable-offline-docs"));
    let excluded = raw.text("--disable-access-log-for-endpoints").unwrap_or_default();
    let excluded = excluded.split(',').map(str::trim).filter(|path| !path.is_empty());
    Ok(TransportSettings {
        uds: raw.text("--uds").filter(|path| !path.is_empty()).map(PathBuf::from),
        root_path: raw.text("--root-path").unwrap_or_default(),
        tls: tls(raw)?,
        cors: CorsSettings {
            origins: texts_of_json(raw, "--allowed-origins", &[])?,
            methods: texts_of_json(raw, "--allowed-methods", &["*"])?,
            headers: texts_of_json(raw, "--allowed-headers", &["*"])?,
            credentials: raw.is_on("--allow-credentials"),
        },
        access_log_excluded: excluded.map(str::to_owned).collect(),
        sse_keep_alive: sse_keep_alive(raw)?,
        docs: match (no_docs, offline) {
            // vLLM serves its own page only where the framework's would have been.
            (true, _) => Docs::Off,
            (false, true) => Docs::Offline,
            (false, false) => Docs::Online,
        },
        limits: limits(raw)?,
    })
}

fn sse_keep_alive(raw: &Raw) -> Result<Option<Duration>, String> {
    let seconds = raw.int("--sse-keep-alive-interval").unwrap_or_default();
    let seconds = u64::try_from(seconds).map_err(|_| {
        "Error: --sse-keep-alive-interval must be a non-negative integer (0 disables keep-alive \
         comments)."
            .to_owned()
    })?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn tls(raw: &Raw) -> Result<Option<TlsSettings>, String> {
    let path = |name| raw.text(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (key, certificate) = (path("--ssl-keyfile"), path("--ssl-certfile"));
    let authorities = path("--ssl-ca-certs");
    let clients = match raw.int("--ssl-cert-reqs").unwrap_or_default() {
        0 => ClientCertificates::Ignored,
        1 => ClientCertificates::Optional,
        2 => ClientCertificates::Required,
        other => {
            return Err(format!("argument --ssl-cert-reqs: {other} is not a valid VerifyMode"));
        }
    };
    let ciphers = raw.text("--ssl-ciphers").filter(|ciphers| !ciphers.is_empty());
    let refresh = raw.is_on("--enable-ssl-refresh");
    let certificate = match (certificate, &key) {
        (Some(certificate), _) => certificate,
        (None, Some(_)) => return Err("argument --ssl-keyfile: needs --ssl-certfile".to_owned()),
        (None, None) => return Ok(None),
    };
    if clients != ClientCertificates::Ignored && authorities.is_none() {
        return Err("argument --ssl-cert-reqs: needs --ssl-ca-certs, or no client certificate \
                    could ever be accepted"
            .to_owned());
    }
    Ok(Some(TlsSettings { certificate, key, authorities, clients, ciphers, refresh }))
}

fn limits(raw: &Raw) -> Result<TransportLimits, String> {
    let usual = TransportLimits::default();
    let count = |name, default| at_least(raw, name, 1).map(|count| count.unwrap_or(default));
    Ok(TransportLimits {
        body_bytes: count("--glassbox-max-body-bytes", usual.body_bytes)?,
        header_bytes: count("--h11-max-incomplete-event-size", usual.header_bytes)?,
        headers: count("--h11-max-header-count", usual.headers)?,
        connections: count("--glassbox-max-connections", usual.connections)?,
        head_time: seconds(raw, "--glassbox-head-timeout")?,
        body_time: seconds(raw, "--glassbox-body-timeout")?,
        send_time: seconds(raw, "--glassbox-send-timeout")?,
    })
}

fn seconds(raw: &Raw, name: &str) -> Result<Duration, String> {
    let Value::Float(value) = raw.get(name) else { return Ok(Duration::MAX) };
    match Duration::try_from_secs_f64(value) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("argument {name}: must be a positive number of seconds, not {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Env, Invocation, parse};
    use super::*;

    fn with(flags: &[&str]) -> Result<TransportSettings, String> {
        let line = ["vllm", "serve", "m"].iter().chain(flags);
        let args: Vec<String> = line.map(|&word| word.to_owned()).collect();
        match parse(&args, Env::read(|_| None)).map_err(|exit| exit.stderr)? {
            Invocation::Serve(settings) => Ok(settings.frontend.transport),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_given_is_plain_http_that_no_page_may_use() {
        let usual = with(&[]).expect("defaults");
        assert_eq!((usual.tls, usual.uds, usual.sse_keep_alive), (None, None, None));
        assert_eq!(usual.cors.origins, [""; 0]);
        assert_eq!((usual.cors.methods, usual.cors.headers), (vec!["*".into()], vec!["*".into()]));
        assert_eq!((usual.docs, usual.limits), (Docs::Online, TransportLimits::default()));
    }

    #[test]
    fn all_of_it_can_be_set() {
        let set = with(&[
            "--ssl-certfile=c.pem",
            "--ssl-keyfile=k.pem",
            "--ssl-ca-certs=a.pem",
            "--ssl-cert-reqs=2",
            "--enable-ssl-refresh",
            "--uds=/run/x",
            "--root-path=/api",
            "--allowed-origins=[\"http://a\"]",
            "--allow-credentials",
            "--disable-access-log-for-endpoints=/health, /metrics,",
            "--sse-keep-alive-interval=3",
            "--h11-max-header-count=7",
            "--glassbox-max-body-bytes=1K",
            "--glassbox-body-timeout=0.5",
            "--enable-offline-docs",
        ])
        .expect("good flags");
        let tls = set.tls.expect("asked for");
        assert_eq!((tls.clients, tls.refresh), (ClientCertificates::Required, true));
        assert_eq!(tls.key, Some("k.pem".into()));
        assert_eq!((set.uds, set.root_path.as_str()), (Some("/run/x".into()), "/api"));
        assert_eq!((set.cors.origins, set.cors.credentials), (vec!["http://a".into()], true));
        assert_eq!(set.access_log_excluded, ["/health", "/metrics"]);
        assert_eq!((set.sse_keep_alive, set.docs), (Some(Duration::from_secs(3)), Docs::Offline));
        assert_eq!((set.limits.headers, set.limits.body_bytes), (7, 1024));
        assert_eq!(set.limits.body_time, Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (flags, reason) in [
            (&["--ssl-keyfile=k"][..], "--ssl-keyfile: needs --ssl-certfile"),
            (&["--ssl-certfile=c", "--ssl-cert-reqs=3"], "3 is not a valid VerifyMode"),
            (&["--ssl-certfile=c", "--ssl-cert-reqs=1"], "needs --ssl-ca-certs"),
            (&["--sse-keep-alive-interval=-1"], "must be a non-negative integer"),
            (&["--allowed-origins={}"], "--allowed-origins: must be a JSON list of texts"),
            (&["--glassbox-send-timeout=0"], "must be a positive number of seconds, not 0"),
            (&["--h11-max-header-count=0"], "must be at least 1, not 0"),
        ] {
            let error = with(flags).expect_err("no such thing");
            assert!(error.contains(reason), "{error}");
        }
    }
}
