//! `healthcheck`: the exit code that a container's health check wants.
//!
//! The image does not know on which port a deployment lets the server listen, so the server that
//! runs here is looked for among the processes, and its command line is read as it read it itself.

use crate::client::{HealthAddress, health};
use crate::config::{self, Env, FrontendSettings};
use std::path::Path;

/// Asks the server at `url`, or the one that runs here.
pub(super) async fn run(url: Option<String>) -> Result<(), String> {
    let address = match url {
        Some(url) => HealthAddress::Url(url),
        None => find(Path::new("/proc"))?,
    };
    health(&address).await.map_err(|why| format!("not healthy: {why}"))
}

/// Where the one server among the processes listens.
fn find(proc: &Path) -> Result<HealthAddress, String> {
    let processes =
        proc.read_dir().map_err(|error| format!("no processes to see: {error}; give --url"))?;
    let mut found = Vec::new();
    for process in processes.flatten() {
        // Not a process, or one that has just ended.
        let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
        let args = arguments(&line);
        if is_server(&args) {
            let settings = config::parse_serve(&args, Env::of_process())
                .map_err(|exit| format!("the server's command line: {}", exit.stderr.trim_end()))?;
            found.push(address(&settings.frontend)?);
        }
    }
    match (found.pop(), found.len()) {
        (Some(address), 0) => Ok(address),
        (None, _) => Err("no server runs here".to_owned()),
        (Some(_), others) => Err(format!("{} servers run here: give --url", others + 1)),
    }
}

/// What is in a `cmdline`: each argument ends with a NUL.
fn arguments(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    line.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

fn is_server(args: &[String]) -> bool {
    let name = |path: &String| path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let program = args.first().map(name).unwrap_or_default();
    matches!(program.as_str(), "glassbox" | "vllm") && args.get(1).is_some_and(|w| w == "serve")
}

fn address(frontend: &FrontendSettings) -> Result<HealthAddress, String> {
    if let Some(path) = &frontend.transport.uds {
        return Ok(HealthAddress::Socket(path.clone()));
    }
    if frontend.transport.tls.is_some() {
        return Err(
            "the server speaks TLS: give --url https://, with a name that its certificate \
                    is for"
                .to_owned(),
        );
    }
    if frontend.port == 0 {
        return Err("the server chose its port itself: give --url".to_owned());
    }
    let host = match frontend.host.as_deref() {
        None | Some("" | "0.0.0.0") => "127.0.0.1".to_owned(),
        Some("::") => "[::1]".to_owned(),
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host.to_owned(),
    };
    Ok(HealthAddress::Url(format!("http://{host}:{}", frontend.port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes with these command lines.
    fn processes(lines: &[&[&str]]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(proc.path().join("self")).expect("made");
        for (pid, line) in lines.iter().enumerate() {
            let folder = proc.path().join((pid + 1).to_string());
            std::fs::create_dir(&folder).expect("made");
            let line: String = line.iter().map(|arg| format!("{arg}\0")).collect();
            std::fs::write(folder.join("cmdline"), line).expect("written");
        }
        proc
    }

    #[test]
    fn the_server_is_found_among_processes() {
        let shell = ["/bin/sh", "-c", "vllm serve m --port 8200"];
        let own = ["/usr/local/bin/vllm", "healthcheck"];
        let url = |url: &str| Ok(HealthAddress::Url(url.to_owned()));
        let cases: [(&[&str], _); 7] = [
            (&["vllm", "serve", "m", "--port=8200"], url("http://127.0.0.1:8200")),
            (&["/opt/glassbox", "serve"], url("http://127.0.0.1:8000")),
            (&["vllm", "serve", "m", "--host", "::"], url("http://[::1]:8000")),
            (&["vllm", "serve", "m", "--host", "fe80::1"], url("http://[fe80::1]:8000")),
            (&["vllm", "serve", "m", "--host", "pod"], url("http://pod:8000")),
            (&["vllm", "serve", "--uds", "/run/x"], Ok(HealthAddress::Socket("/run/x".into()))),
            (&["vllm", "bench", "serve"], Err("no server runs here".to_owned())),
        ];
        for (line, expected) in cases {
            let proc = processes(&[&shell, line, &own]);
            assert_eq!(find(proc.path()), expected, "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        let refused = |lines: &[&[&str]]| find(processes(lines).path()).expect_err("a reason");
        let server = ["vllm", "serve", "m"];
        assert_eq!(refused(&[&server, &server]), "2 servers run here: give --url");
        assert!(refused(&[&["vllm", "serve", "m", "--port=0"]]).contains("its port itself"));
        let tls = ["vllm", "serve", "m", "--ssl-certfile=c.pem", "--ssl-keyfile=k.pem"];
        assert!(refused(&[&tls]).contains("speaks TLS"));
        assert!(refused(&[&["vllm", "serve", "m", "--bogus"]]).contains("--bogus"));
        assert!(find(Path::new("/nowhere")).expect_err("a reason").ends_with("give --url"));
    }
}
