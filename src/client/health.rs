//! Whether a server is well: its `/health`.

use super::api::Api;
use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server that has not said anything by then is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthAddress {
    /// Without a slash at the end: `http://localhost:8000`.
    Url(String),
    /// A Unix socket.
    Socket(PathBuf),
}

/// Asks a server whether it is well.
///
/// # Errors
/// Why it is not, or why it cannot be asked.
pub async fn health(address: &HealthAddress) -> Result<(), String> {
    let asked = async {
        match address {
            HealthAddress::Url(url) => {
                let api = Api::new(None, &[])?;
                api.probe(&format!("{url}/health")).await.map_err(|failure| failure.to_string())
            }
            HealthAddress::Socket(path) => over_socket(path).await,
        }
    };
    let late = |_| format!("no answer within {} s", TIMEOUT.as_secs());
    tokio::time::timeout(TIMEOUT, asked).await.map_err(late)?
}

async fn over_socket(path: &Path) -> Result<(), String> {
    let failed = |error: String| format!("{}: {error}", path.display());
    let socket = tokio::net::UnixStream::connect(path).await;
    let socket = TokioIo::new(socket.map_err(|error| failed(error.to_string()))?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket)
        .await
        .map_err(|error| failed(error.to_string()))?;
    tokio::spawn(connection);
    let request = Request::get("/health").header("host", "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed(error.to_string()))?;
    let reply = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    match reply.status() {
        status if status.is_success() => Ok(()),
        status => Err(failed(format!("Error code: {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_socket_is_asked_as_a_url_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).expect("bound");
        tokio::spawn(async move {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut head = [0; 11];
                socket.read_exact(&mut head).await.expect("a request");
                assert_eq!(&head, b"GET /health");
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                socket.write_all(reply.as_bytes()).await.expect("written");
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
            }
        });
        let address = HealthAddress::Socket(path.clone());
        assert_eq!(health(&address).await, Ok(()));
        let failed = health(&address).await.expect_err("it is not well");
        assert_eq!(failed, format!("{}: Error code: 503", path.display()));
        let nowhere = health(&HealthAddress::Socket("/nowhere".into())).await;
        assert!(nowhere.expect_err("nobody listens").starts_with("/nowhere: "));
    }
}
