//! A hub on loopback that can be made to misbehave.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use glassbox::model::HubOptions;
use sha2::{Digest, Sha256};

pub const REPO: &str = "Qwen/Qwen3-test";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub behaves.
#[derive(Default)]
pub struct State {
    pub files: HashMap<String, Vec<u8>>,
    pub commit: String,
    /// A status and an `x-error-code` for every question about the repository.
    pub refusal: Option<(u16, &'static str)>,
    /// Close the connection after this many bytes of a large file, once for each entry.
    pub cuts: Vec<usize>,
    /// Answer requests for a range with the whole file.
    pub ignores_ranges: bool,
    /// The token that requests must bear.
    pub token: Option<&'static str>,
    /// Path and range of each request.
    log: Vec<(String, Option<String>)>,
}

/// A hub on a free port; it ends with the value.
pub struct FakeHub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHub {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let files = files.iter().map(|(name, data)| (name.to_string(), data.to_vec())).collect();
        let state = State { files, commit: COMMIT.to_owned(), ..State::default() };
        let mut hub = FakeHub {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            stop: Arc::default(),
            thread: None,
        };
        let (state, stop) = (hub.state.clone(), hub.stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let state = state.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        hub.thread = Some(thread);
        hub
    }

    pub fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state.lock().unwrap());
        self
    }

    pub fn options(&self, cache: &Path) -> HubOptions {
        let endpoint = format!("http://{}/", self.address);
        let cache = cache.to_str().unwrap();
        HubOptions {
            progress: false,
            say: |_| {},
            ..HubOptions::from_vars(|name| match name {
                "HF_ENDPOINT" => Some(endpoint.clone()),
                "HF_HUB_CACHE" => Some(cache.to_owned()),
                _ => None,
            })
        }
    }

    /// The requests since the last call that were for a large file.
    pub fn large(&self) -> Vec<Option<String>> {
        let log = std::mem::take(&mut self.state.lock().unwrap().log);
        let large = |path: &str| path.starts_with("/large/");
        log.into_iter().filter(|(path, _)| large(path)).map(|(_, range)| range).collect()
    }

    /// The paths of the requests since the last call.
    pub fn paths(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.state.lock().unwrap().log);
        log.into_iter().map(|(path, _)| path).collect()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

pub fn hex_sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One request a connection, as `connection: close` announces.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())))
        .collect();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut state = state.lock().unwrap();
    state.log.push((path.clone(), headers.get("range").cloned()));
    let (head, body, cut) = answer(&mut state, &path, &headers);
    drop(state);
    let length = body.len();
    let head = format!("HTTP/1.1 {head}content-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body[..cut.unwrap_or(length).min(length)]);
    let _ = stream.shutdown(Shutdown::Both);
}

type Reply = (String, Vec<u8>, Option<usize>);

fn answer(state: &mut State, path: &str, headers: &HashMap<String, String>) -> Reply {
    let error = |status: u16, code: &str| {
        (format!("{status} Error\r\nx-error-code: {code}\r\n"), b"no".to_vec(), None)
    };
    if let Some(token) = state.token
        && headers.get("authorization") != Some(&format!("Bearer {token}"))
    {
        return error(401, "RepoNotFound");
    }
    if let Some((status, code)) = state.refusal {
        return error(status, code);
    }
    let commit = state.commit.clone();
    if path == format!("/api/models/{REPO}/revision/main")
        || path == format!("/api/models/{REPO}/revision/{commit}")
    {
        let mut siblings: Vec<_> = state.files.keys().collect();
        siblings.sort();
        let siblings: Vec<_> =
            siblings.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"sha": commit, "siblings": siblings}).to_string();
        return ("200 OK\r\n".to_owned(), info.into_bytes(), None);
    }
    if path.starts_with("/api/") {
        return error(404, "RevisionNotFound");
    }
    let large = path.strip_prefix("/large/");
    let name = large.or_else(|| path.strip_prefix(&format!("/{REPO}/resolve/{commit}/")));
    let Some((name, data)) = name.and_then(|name| Some((name, state.files.get(name)?.clone())))
    else {
        return error(404, "EntryNotFound");
    };
    let is_large = name.ends_with(".safetensors");
    let etag = if is_large { hex_sha256(&data) } else { hex_sha256(&data)[..40].to_owned() };
    let mut head = format!("x-repo-commit: {commit}\r\netag: \"{etag}\"\r\n");
    if is_large && large.is_none() {
        let _ = write!(head, "x-linked-etag: \"{etag}\"\r\nlocation: /large/{name}\r\n");
        // The real hub sends large files from another host; a full address stands for that.
        let host = &headers["host"];
        let head = head.replace("location: ", &format!("location: http://{host}"));
        return (format!("302 Found\r\n{head}"), Vec::new(), None);
    }
    file(state, head, data, headers.get("range").map(String::as_str), is_large)
}

/// The bytes of a file, or the range of them that is asked for.
fn file(state: &mut State, head: String, data: Vec<u8>, range: Option<&str>, large: bool) -> Reply {
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
        return (format!("200 OK\r\n{head}"), data, None);
    };
    let (start, end) = range.split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    if state.ignores_ranges && end.is_empty() {
        return (format!("200 OK\r\n{head}"), data, None);
    }
    if start >= data.len() {
        return ("416 Range Not Satisfiable\r\n".to_owned(), Vec::new(), None);
    }
    let end = end.parse().map_or(data.len(), |end: usize| (end + 1).min(data.len()));
    // The question for the size alone is not cut.
    let whole = end == data.len();
    let cut = if large && whole { state.cuts.pop() } else { None };
    let range = format!("content-range: bytes {start}-{}/{}\r\n", end - 1, data.len());
    (format!("206 Partial Content\r\n{head}{range}"), data[start..end].to_vec(), cut)
}
