//! TLS: the server's certificate, what it asks of clients', and reading both again.

mod ciphers;

pub use ciphers::select_usual as select;

use super::socket::Socket;
use crate::config::{ClientCertificates, TlsSettings};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at. Looking, not being told: orchestrators swap links, of which
/// no notice comes for the file that was watched.
const LOOK: Duration = Duration::from_secs(1);

/// How connections begin. Clones share the certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    settings: Arc<TlsSettings>,
    /// Connections take what is there when they begin.
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// One sentence that names the flag.
    pub fn load(settings: &TlsSettings) -> Result<Self, String> {
        let config = Arc::new(RwLock::new(Arc::new(server_config(settings)?)));
        Ok(Self { settings: Arc::new(settings.clone()), config })
    }

    /// The handshake of one connection.
    pub(super) async fn accept(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(socket).await
    }

    /// Reads the files again; what was there before goes on when they are not good.
    ///
    /// # Errors
    /// The same as [`Tls::load`]'s.
    pub fn reload(&self) -> Result<(), String> {
        let config = Arc::new(server_config(&self.settings)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Reloads whenever a file changes, for ever; returns at once when that was not asked for.
    pub async fn refresh(&self) {
        if !self.settings.refresh {
            return;
        }
        let mut seen = self.stamps();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let now = self.stamps();
            if now == seen {
                continue;
            }
            // A certificate and its key rarely change in one moment: until both have, this fails.
            match self.reload() {
                Ok(()) => log::info!("Reloading SSL certificate chain"),
                Err(error) => log::error!("the TLS files changed, but cannot be used: {error}"),
            }
            seen = now;
        }
    }

    /// What tells whether a file has changed.
    fn stamps(&self) -> Vec<Option<(SystemTime, u64, u64)>> {
        let TlsSettings { certificate, key, authorities, .. } = &*self.settings;
        let files = [Some(certificate), key.as_ref(), authorities.as_ref()];
        let stamp = |path: &Path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len(), about.ino()))
        };
        files.into_iter().flatten().map(|path| stamp(path)).collect()
    }
}

fn server_config(settings: &TlsSettings) -> Result<ServerConfig, String> {
    let mut provider = ring::default_provider();
    if let Some(list) = &settings.ciphers {
        provider.cipher_suites = ciphers::select(list, &provider.cipher_suites)
            .map_err(|error| format!("argument --ssl-ciphers: {error}"))?;
    }
    let provider = Arc::new(provider);
    let versions = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("argument --ssl-ciphers: {error}"))?;
    let builder = match client_verifier(settings, provider)? {
        Some(verifier) => versions.with_client_cert_verifier(verifier),
        None => versions.with_no_client_auth(),
    };
    let chain = certificates(&settings.certificate, "--ssl-certfile")?;
    let (path, flag) = match &settings.key {
        Some(path) => (path, "--ssl-keyfile"),
        None => (&settings.certificate, "--ssl-certfile"),
    };
    let key = PrivateKeyDer::from_pem_slice(&read(path, flag)?).map_err(|error| {
        let path = path.display();
        format!(
            "argument {flag}: {path} holds no private key in PEM form without a password: \
                 {error}"
        )
    })?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("argument {flag}: {}: {error}", path.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    settings: &TlsSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let flag = "--ssl-ca-certs";
    let Some(path) = &settings.authorities else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, flag)? {
        roots
            .add(certificate)
            .map_err(|error| format!("argument {flag}: {}: {error}", path.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match settings.clients {
        ClientCertificates::Ignored => return Ok(None),
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    let verifier = builder.build().map_err(|error| format!("argument {flag}: {error}"))?;
    Ok(Some(verifier))
}

fn certificates(path: &Path, flag: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path, flag)?;
    let shown = path.display();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("argument {flag}: {shown} holds no certificate in PEM form")),
        Err(error) => Err(format!("argument {flag}: {shown}: {error}")),
    }
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("argument {flag}: {}: {error}", path.display()))
}
