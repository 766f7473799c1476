//! HTTPS: certificates of both sides, versions, reloading.

use super::support::{PATIENCE, Reply, Server, Setup, send_over, start};
use glassbox::config::{ClientCertificates, TlsSettings};
use glassbox::http::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

/// A private authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A certificate for `name` and its key, as PEM.
    fn signs(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.0.pem().as_bytes()).expect("PEM");
        roots.add(der).expect("a root");
        roots
    }
}

/// Files of a server in `folder`, whose clients come from `authority` as well.
fn settings(folder: &Path, authority: &Authority, clients: ClientCertificates) -> TlsSettings {
    let (chain, key) = authority.signs("localhost");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    };
    TlsSettings {
        certificate: write("server.pem", &chain),
        key: Some(write("server.key", &key)),
        authorities: Some(write("ca.pem", &authority.0.pem())),
        clients,
        ciphers: None,
        refresh: false,
    }
}

fn serve(settings: &TlsSettings) -> Server {
    let tls = Tls::load(settings).expect("good files");
    let mut setup = Setup { tls: Some(tls), ..Setup::default() };
    setup.options.tls = true;
    start(setup)
}

type Secure = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A connection that has shaken hands, or why it could not.
fn connect(
    server: &Server,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&(String, String)>,
) -> std::io::Result<Secure> {
    let builder = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(authority.roots());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![chain], key).expect("a good pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let mut stream = server.connect();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(tls, stream))
}

fn get(server: &Server, mut stream: Secure, path: &str) -> Option<Reply> {
    let head = server.head("GET", path, &[]) + "connection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, head.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
    (!bytes.is_empty()).then(|| super::support::parse(&bytes))
}

#[test]
fn speaks_http_1_1_over_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = serve(&settings(folder.path(), &authority, ClientCertificates::Ignored));
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(&server, &authority, &[version], None).expect("a handshake");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let head = server.head("GET", "/v1/models/", &[]);
        let reply = send_over(&mut stream, head, None);
        assert_eq!(reply.status, 307);
        let location = reply.header("location").expect("a location");
        assert_eq!(location, format!("https://{}/v1/models", server.address));
    }
    let stranger = connect(&server, &Authority::new(), &[&TLS13], None);
    assert!(stranger.is_err(), "the server's certificate is checked");
    // Who speaks plainly gets no answer in HTTP.
    let mut plain = server.connect();
    std::io::Write::write_all(&mut plain, b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn clients_show_who_they_are_where_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (known, unknown) = (authority.signs("client"), Authority::new().signs("client"));
    for (clients, answers) in [
        (ClientCertificates::Ignored, [true, true, true]),
        (ClientCertificates::Optional, [true, true, false]),
        (ClientCertificates::Required, [false, true, false]),
    ] {
        let server = serve(&settings(folder.path(), &authority, clients));
        for (identity, answered) in [None, Some(&known), Some(&unknown)].into_iter().zip(answers) {
            let stream = connect(&server, &authority, &[&TLS13], identity);
            let reply = stream.ok().and_then(|stream| get(&server, stream, "/health"));
            let status = reply.map(|reply| reply.status);
            assert_eq!(status, answered.then_some(200), "{clients:?} {}", identity.is_some());
        }
    }
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut settings = settings(folder.path(), &authority, ClientCertificates::Ignored);
    settings.refresh = true;
    let server = serve(&settings);
    let certificate = || {
        let stream = connect(&server, &authority, &[&TLS13], None).expect("a handshake");
        stream.conn.peer_certificates().expect("sent")[0].as_ref().to_vec()
    };
    let first = certificate();
    // A certificate without its key is not taken.
    let (chain, key) = authority.signs("localhost");
    std::fs::write(&settings.certificate, &chain).unwrap();
    let tls = Tls::load(&settings);
    assert!(tls.is_err_and(|error| error.contains("--ssl-keyfile")));
    assert_eq!(certificate(), first);
    std::fs::write(settings.key.as_ref().unwrap(), &key).unwrap();
    let start = Instant::now();
    while certificate() == first {
        assert!(start.elapsed() < PATIENCE, "the new certificate was not read");
        std::thread::yield_now();
    }
}

#[test]
fn ciphers_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut settings = settings(folder.path(), &authority, ClientCertificates::Ignored);
    settings.ciphers = Some("ECDHE-ECDSA-CHACHA20-POLY1305:!MD5".into());
    let server = serve(&settings);
    let stream = connect(&server, &authority, &[&TLS12], None).expect("a handshake");
    let suite = stream.conn.negotiated_cipher_suite().expect("agreed").suite();
    assert_eq!(suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    settings.ciphers = Some("RC4-MD5".into());
    let error = Tls::load(&settings).expect_err("no such cipher");
    assert!(error.starts_with("argument --ssl-ciphers: rustls has no cipher suite RC4-MD5"));
}

#[test]
fn files_that_will_not_do_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(folder.path(), &Authority::new(), ClientCertificates::Required);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let missing = folder.path().join("missing.pem");
    for (settings, flag) in [
        (TlsSettings { certificate: missing.clone(), ..good.clone() }, "--ssl-certfile"),
        (TlsSettings { certificate: empty.clone(), ..good.clone() }, "--ssl-certfile"),
        (TlsSettings { key: Some(empty.clone()), ..good.clone() }, "--ssl-keyfile"),
        (TlsSettings { key: None, ..good.clone() }, "--ssl-certfile"),
        (TlsSettings { authorities: Some(missing), ..good.clone() }, "--ssl-ca-certs"),
        (TlsSettings { authorities: Some(empty), ..good }, "--ssl-ca-certs"),
    ] {
        let error = Tls::load(&settings).expect_err("a bad file");
        assert!(error.starts_with(&format!("argument {flag}: ")), "{error}");
    }
}

#[test]
fn a_handshake_that_never_comes_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let tls = Tls::load(&settings(folder.path(), &authority, ClientCertificates::Ignored));
    let mut setup = Setup { tls: tls.ok(), ..Setup::default() };
    setup.options.transport.head_time = Duration::from_millis(50);
    let server = start(setup);
    let mut silent = server.connect();
    assert_eq!(std::io::Read::read(&mut silent, &mut [0; 10]).unwrap_or(0), 0);
    let stream = connect(&server, &authority, &[&TLS13], None).expect("a handshake");
    let page = get(&server, stream, "/metrics").expect("an answer").body;
    assert!(page.contains("glassbox_http_limits_total{limit=\"handshake\"} 1.0\n"), "{page}");
}
