//! Models by hub id, against a hub on loopback that can be made to misbehave.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use glassbox::model::{HubOptions, ModelFiles, Wanted, resolve};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const REPO: &str = "Qwen/Qwen3-test";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub behaves.
#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    commit: String,
    /// A status and an `x-error-code` for every question about the repository.
    refusal: Option<(u16, &'static str)>,
    /// Close the connection after this many bytes of a large file, once for each entry.
    cuts: Vec<usize>,
    /// Answer requests for a range with the whole file.
    ignores_ranges: bool,
    /// The token that requests must bear.
    token: Option<&'static str>,
    /// Path and range of each request.
    log: Vec<(String, Option<String>)>,
}

/// A hub on a free port; it ends with the value.
struct FakeHub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHub {
    fn new(files: &[(&str, &[u8])]) -> Self {
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

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state.lock().unwrap());
        self
    }

    fn options(&self, cache: &Path) -> HubOptions {
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
    fn large(&self) -> Vec<Option<String>> {
        let log = std::mem::take(&mut self.state.lock().unwrap().log);
        let large = |path: &str| path.starts_with("/large/");
        log.into_iter().filter(|(path, _)| large(path)).map(|(_, range)| range).collect()
    }

    fn paths(&self) -> Vec<String> {
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

fn hex_sha256(data: &[u8]) -> String {
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

fn weights() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

fn small_hub() -> FakeHub {
    FakeHub::new(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{\"t\": 1}"),
        ("model.safetensors", &weights()),
        ("README.md", b"not needed"),
        ("original/model.safetensors", b"not needed"),
        ("pytorch_model.bin", b"not needed"),
    ])
}

fn fetch(options: &HubOptions, wanted: Wanted) -> Result<PathBuf, String> {
    resolve(REPO, None, wanted, options).map_err(|error| {
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error:?}");
        error
    })
}

fn part_file(cache: &TempDir, data: &[u8]) -> PathBuf {
    let folder = format!("models--{}", REPO.replace('/', "--"));
    let blobs = cache.path().join(folder).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    blobs.join(hex_sha256(data)).with_extension("part")
}

#[test]
fn fetches_only_what_serving_needs_and_only_once() {
    let (hub, cache) = (small_hub(), tempfile::tempdir().unwrap());
    let options = hub.options(cache.path());
    let folder = fetch(&options, Wanted::Model).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert!(folder.ends_with(format!("snapshots/{COMMIT}")));
    let refs = folder.parent().unwrap().parent().unwrap().join("refs");
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), COMMIT);
    assert_eq!(fs::read_dir(refs).unwrap().count(), 1);
    let files = ModelFiles::in_folder(&folder).unwrap();
    assert_eq!(files.weights, [folder.join("model.safetensors")]);

    hub.paths();
    assert_eq!(fetch(&options, Wanted::Model).unwrap(), folder);
    assert_eq!(hub.paths(), [format!("/api/models/{REPO}/revision/main")]);
}

#[test]
fn dummy_weights_need_no_download_of_weights() {
    let (hub, cache) = (small_hub(), tempfile::tempdir().unwrap());
    let folder = fetch(&hub.options(cache.path()), Wanted::WithoutWeights).unwrap();
    assert!(folder.join("tokenizer.json").is_file());
    assert!(!folder.join("model.safetensors").exists());
}

#[test]
fn an_index_decides_which_shards_are_fetched() {
    let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
    let hub = FakeHub::new(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("m-1.safetensors", b"one"),
        ("m-2.safetensors", b"two"),
        ("consolidated.safetensors", b"not needed"),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let folder = fetch(&hub.options(cache.path()), Wanted::Model).unwrap();
    assert_eq!(fs::read(folder.join("m-2.safetensors")).unwrap(), b"two");
    assert!(!folder.join("consolidated.safetensors").exists());

    let hub = hub.with(|state| drop(state.files.remove("m-2.safetensors")));
    let cache = tempfile::tempdir().unwrap();
    let error = fetch(&hub.options(cache.path()), Wanted::Model).unwrap_err();
    assert!(error.ends_with("m-2.safetensors: HTTP status 404"), "{error}");
    let hub = FakeHub::new(&[("config.json", b"{}"), ("pytorch_model.bin", b"x")]);
    let error = fetch(&hub.options(cache.path()), Wanted::Model).unwrap_err();
    assert!(error.ends_with("the model has no safetensors weights"), "{error}");
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let hub = small_hub().with(|state| state.cuts = vec![250_000, 100_000]);
    let cache = tempfile::tempdir().unwrap();
    let folder = fetch(&hub.options(cache.path()), Wanted::Model).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    let ranges: Vec<_> = hub.large().into_iter().flatten().collect();
    let downloads: Vec<_> = ranges.iter().filter(|range| range.ends_with('-')).collect();
    assert_eq!(downloads, ["bytes=0-", "bytes=100000-", "bytes=350000-"]);
}

#[test]
fn an_interrupted_start_is_resumed_by_the_next() {
    let data = weights();
    for (left, range) in [
        (data[..123_456].to_vec(), "bytes=123456-"),
        // Only the renaming is missing; the hub would answer an empty range with an error.
        (data.clone(), "bytes=399999-"),
        // Longer than the file: not its beginning.
        ([&data[..], b"more"].concat(), "bytes=0-"),
    ] {
        let (hub, cache) = (small_hub(), tempfile::tempdir().unwrap());
        fs::write(part_file(&cache, &data), left).unwrap();
        let folder = fetch(&hub.options(cache.path()), Wanted::Model).unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), data);
        assert!(hub.large().contains(&Some(range.to_owned())), "{range}");
    }
}

#[test]
fn a_resumed_file_of_other_bytes_is_fetched_anew() {
    let data = weights();
    for ignores_ranges in [false, true] {
        let hub = small_hub().with(|state| state.ignores_ranges = ignores_ranges);
        let cache = tempfile::tempdir().unwrap();
        fs::write(part_file(&cache, &data), vec![7; 1000]).unwrap();
        let folder = fetch(&hub.options(cache.path()), Wanted::Model).unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), data);
    }
}

#[test]
fn a_file_that_two_revisions_share_is_fetched_once() {
    let (hub, cache) = (small_hub(), tempfile::tempdir().unwrap());
    let options = hub.options(cache.path());
    let old = fetch(&options, Wanted::Model).unwrap();
    let hub = hub.with(|state| {
        state.commit = COMMIT.replace('0', "f");
        state.files.insert("config.json".to_owned(), b"{\"new\": 1}".to_vec());
    });
    hub.large();
    let new = fetch(&options, Wanted::Model).unwrap();
    assert_ne!(old, new);
    assert_eq!(fs::read(new.join("config.json")).unwrap(), b"{\"new\": 1}");
    assert_eq!(fs::read(new.join("model.safetensors")).unwrap(), weights());
    let asked_for_size = Some("bytes=0-0".to_owned());
    assert!(hub.large().iter().all(|range| *range == asked_for_size));
}

#[test]
fn offline_uses_the_cache_alone() {
    let (hub, cache) = (small_hub(), tempfile::tempdir().unwrap());
    let offline = HubOptions { offline: true, ..hub.options(cache.path()) };
    let error = fetch(&offline, Wanted::Model).unwrap_err();
    let place = cache.path().display();
    let wanted = format!("HF_HUB_OFFLINE is set, and {REPO} at revision main is not in {place}");
    assert_eq!(error, wanted);
    let folder = fetch(&hub.options(cache.path()), Wanted::WithoutWeights).unwrap();
    assert_eq!(fetch(&offline, Wanted::WithoutWeights).unwrap(), folder);
    assert_eq!(fetch(&offline, Wanted::Model).unwrap_err(), wanted);
    fetch(&hub.options(cache.path()), Wanted::Model).unwrap();
    hub.paths();
    assert_eq!(fetch(&offline, Wanted::Model).unwrap(), folder);
    let by_commit = resolve(REPO, Some(COMMIT), Wanted::Model, &offline).unwrap();
    assert_eq!(by_commit, folder);
    assert!(resolve(REPO, Some("v1"), Wanted::Model, &offline).is_err());
    assert!(resolve(REPO, Some("../main"), Wanted::Model, &offline).is_err());
    assert!(hub.paths().is_empty());
}

#[test]
fn a_hub_that_is_down_is_replaced_by_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let hub = small_hub();
    let options = hub.options(cache.path());
    let folder = fetch(&options, Wanted::Model).unwrap();
    let hub = hub.with(|state| state.refusal = Some((503, "")));
    assert_eq!(fetch(&options, Wanted::Model).unwrap(), folder);
    drop(hub);
    assert_eq!(fetch(&options, Wanted::Model).unwrap(), folder);
    let empty = tempfile::tempdir().unwrap();
    let error = fetch(&HubOptions { cache: empty.path().into(), ..options }, Wanted::Model);
    let error = error.unwrap_err();
    assert!(error.contains("cannot be reached ("), "{error}");
    assert!(error.ends_with(&format!("{REPO} is not in {}", empty.path().display())), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let refused = |status, code| {
        let hub = small_hub().with(|state| state.refusal = Some((status, code)));
        fetch(&hub.options(cache.path()), Wanted::Model).unwrap_err()
    };
    for (status, code) in [(404, "RepoNotFound"), (401, "RepoNotFound"), (401, "")] {
        let error = refused(status, code);
        assert!(error.contains("is not on http://127.0.0.1:"), "{error}");
        assert!(error.contains("set HF_TOKEN or --hf-token"), "{error}");
    }
    assert!(refused(403, "GatedRepo").contains("is gated: accept its terms there"));
    assert!(refused(401, "GatedRepo").contains("is gated: accept its terms there"));
    assert!(refused(404, "RevisionNotFound").ends_with("has no revision main"));
    assert!(refused(418, "").ends_with("HTTP status 418"));
    let hub = small_hub();
    let options = hub.options(cache.path());
    let error = resolve(REPO, Some("v9"), Wanted::Model, &options).unwrap_err().to_string();
    assert!(error.ends_with("has no revision v9"), "{error}");
    let error = resolve("/no/such/folder", None, Wanted::Model, &options).unwrap_err();
    let wanted = "/no/such/folder is neither a model folder nor a hub id (owner/name)";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn the_token_is_sent() {
    let hub = small_hub().with(|state| state.token = Some("secret"));
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    assert!(fetch(&options, Wanted::Model).unwrap_err().contains("is not on"));
    let folder = fetch(&options.with_flags(None, Some("secret")), Wanted::Model).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_hub_that_talks_nonsense_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let hub = small_hub().with(|state| state.commit = "../../etc".to_owned());
    let error = fetch(&hub.options(cache.path()), Wanted::Model).unwrap_err();
    assert!(error.ends_with("names the commit \"../../etc\""), "{error}");
    let web = HubOptions { endpoint: "not a url".into(), ..hub.options(cache.path()) };
    assert!(fetch(&web, Wanted::Model).unwrap_err().contains("cannot be reached"));
}
