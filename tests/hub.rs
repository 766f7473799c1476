//! Models by hub id: what is fetched, resumed, found in the cache and refused.

mod fake_hub;

use std::fs;
use std::path::PathBuf;

use fake_hub::{COMMIT, FakeHub, REPO, hex_sha256};
use glassbox::model::{HubOptions, ModelFiles, Wanted, resolve};
use tempfile::TempDir;

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
