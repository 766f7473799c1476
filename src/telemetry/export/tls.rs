//! Certificates, read once at start.
//!
//! Without `OTEL_EXPORTER_OTLP_CERTIFICATE` the built-in roots of Mozilla are trusted, as gRPC and
//! requests do in Python: an image needs no certificate store, and every pod trusts the same.

use crate::config::TlsFiles;
use std::path::Path;
use ureq::tls::{PemItem, parse_pem};

/// The files' contents, each with at least what it is for.
#[derive(Debug, Default)]
pub(super) struct Pem {
    /// Trusted in place of the built-in roots.
    pub roots: Option<Vec<u8>>,
    /// Certificate chain and key of this client.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn read(files: &TlsFiles) -> Result<Pem, String> {
    let roots = match &files.certificate {
        Some(path) => Some(read_with(path, "certificate", is_certificate)?),
        None => None,
    };
    let identity = match (&files.client_certificate, &files.client_key) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err("OTEL_EXPORTER_OTLP_CLIENT_KEY needs \
                        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
                .to_owned());
        }
        (Some(chain), key) => {
            // One file may hold both.
            let key = key.as_ref().unwrap_or(chain);
            let chain = read_with(chain, "certificate", is_certificate)?;
            Some((chain, read_with(key, "private key", is_key)?))
        }
    };
    Ok(Pem { roots, identity })
}

fn read_with(path: &Path, what: &str, is: fn(&PemItem) -> bool) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| format!("the {what} of OTEL_EXPORTER_OTLP_*, {shown}: {error}"))?;
    let found = parse_pem(&bytes).filter_map(Result::ok).any(|item| is(&item));
    found.then_some(bytes).ok_or_else(|| format!("{shown} holds no {what} in PEM form"))
}

fn is_certificate(item: &PemItem) -> bool {
    matches!(item, PemItem::Certificate(_))
}

fn is_key(item: &PemItem) -> bool {
    matches!(item, PemItem::PrivateKey(_))
}
