//! Collectors behind https with certificates of a private authority.

use crate::collector::{Collector, Listen};
use crate::support::{PROTOCOLS, start, tree, wait_for_lines};
use glassbox::telemetry::trace::DropReason;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

const MINUTE: Duration = Duration::from_secs(60);

/// A private authority, a server at localhost and a client, as PEM.
struct Authority {
    root: String,
    server: (String, String),
    client: (String, String),
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let signed = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        Self { server: signed("localhost"), client: signed("client"), root: issuer.pem() }
    }

    fn listen(&self, protocol: &str, ask_client: bool) -> Listen {
        let (chain, key) = &self.server;
        if protocol == "grpc" {
            let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(chain, key));
            if ask_client {
                tls = tls.client_ca_root(Certificate::from_pem(&self.root));
            }
            return Listen::GrpcTls(Box::new(tls));
        }
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let builder = ServerConfig::builder();
        let builder = if ask_client {
            let mut roots = RootCertStore::empty();
            roots.add(der(&self.root)).expect("a root");
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = builder.with_single_cert(vec![der(chain)], key).expect("a good pair");
        Listen::HttpTls(TlsAcceptor::from(Arc::new(config)))
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a writable folder");
    path.display().to_string()
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "ca.pem", &authority.root);
    for protocol in PROTOCOLS {
        let collector = Collector::start(authority.listen(protocol, false));
        let url = format!("https://localhost:{}/v1/traces", collector.address.port());
        let vars = [("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", root.as_str())];
        let (tracer, guard) = start(&url, protocol, &vars);
        tracer.submit(tree(&tracer, 1));
        guard.shutdown(MINUTE);
        assert_eq!(tracer.stats().read().exported, 2, "{protocol}");
        assert_eq!(collector.spans().len(), 2, "{protocol}");
    }
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let other = write(folder.path(), "other.pem", &Authority::new().root);
    for protocol in PROTOCOLS {
        for vars in [&[][..], &[("OTEL_EXPORTER_OTLP_CERTIFICATE", other.as_str())]] {
            let collector = Collector::start(authority.listen(protocol, false));
            let url = format!("https://localhost:{}/v1/traces", collector.address.port());
            let (tracer, guard) = start(&url, protocol, vars);
            let lines = wait_for_lines(&url, 1);
            assert!(lines[0].contains("invalid peer certificate"), "{lines:?}");
            tracer.submit(tree(&tracer, 0));
            guard.shutdown(MINUTE);
            let counts = tracer.stats().read();
            let lost =
                counts.dropped(DropReason::ExportFailed) + counts.dropped(DropReason::Shutdown);
            assert_eq!((lost, collector.received().len()), (1, 0), "{protocol}");
        }
    }
}

#[test]
fn a_collector_may_ask_who_we_are() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "ca.pem", &authority.root);
    let chain = write(folder.path(), "client.pem", &authority.client.0);
    let key = write(folder.path(), "client.key", &authority.client.1);
    let both = authority.client.0.clone() + &authority.client.1;
    let both = write(folder.path(), "both.pem", &both);
    let ca = ("OTEL_EXPORTER_OTLP_CERTIFICATE", root.as_str());
    let named = |path| ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", path);
    for protocol in PROTOCOLS {
        let with_key = [ca, named(chain.as_str()), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str())];
        for (vars, known) in
            [(&with_key[..], true), (&[ca, named(both.as_str())], true), (&[ca], false)]
        {
            let collector = Collector::start(authority.listen(protocol, true));
            let url = format!("https://localhost:{}/v1/traces", collector.address.port());
            let (tracer, guard) = start(&url, protocol, vars);
            tracer.submit(tree(&tracer, 0));
            guard.shutdown(MINUTE);
            assert_eq!(tracer.stats().read().exported, u64::from(known), "{protocol} {vars:?}");
        }
    }
}
