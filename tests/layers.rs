//! A room of `src/` uses only the rooms below it and the base. DESIGN in one test.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the bottom up. Rooms in one row do not know each other.
const FLOORS: &[&[&str]] = &[
    &["types"],
    &["error", "zmq"],
    &["model"],
    &["config"],
    &["kv"],
    &["sampler"],
    &["runner"],
    &["scheduler"],
    &["engine"],
    &["text", "grammar", "telemetry", "events", "client", "transfer"],
    &["http"],
    &["serve"],
    &["offline"],
];

/// The base: what every room may use, and all that side rooms may.
const BASE: [&str; 5] = ["types", "error", "zmq", "model", "config"];
const SIDE_ROOMS: [&str; 6] = ["text", "grammar", "telemetry", "events", "client", "transfer"];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_use(room: &str, other: &str) -> bool {
    if room == other {
        return true;
    }
    if SIDE_ROOMS.contains(&room) {
        return BASE.contains(&other);
    }
    match (floor(room), floor(other)) {
        (Some(own), Some(theirs)) => theirs < own,
        _ => false,
    }
}

/// The rooms that `text` names by `crate::` paths, with their lines.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let joined = code.join("\n");
    let mut from = 0;
    while let Some(at) = joined[from..].find("crate::") {
        let start = from + at + "crate::".len();
        // `some_crate::` would be something else.
        let before = joined[..from + at].chars().next_back();
        from = start;
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = joined[..start].matches('\n').count() + 1;
        found.extend(first_names(&joined[start..]).into_iter().map(|name| (line, name)));
    }
    found
}

/// The first name of a path, or of each path in `{…}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut complaints = Vec::new();
    let mut checked = 0;
    for path in files {
        let inside = path.strip_prefix(&src).expect("inside src");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let room = first.trim_end_matches(".rs");
        // The program starts everything, and the library only lists the rooms.
        if ["main", "lib"].contains(&room) {
            continue;
        }
        if floor(room).is_none() {
            complaints.push(format!("src/{}: the room {room} has no floor", inside.display()));
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        for (line, other) in uses(&text) {
            checked += 1;
            if !may_use(room, &other) {
                let file = inside.display();
                complaints.push(format!("src/{file}:{line}: {room} must not use {other}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(checked > 10, "only {checked} paths were found: does the search still work?");
}

#[test]
fn the_rules_are_the_design() {
    for (room, other) in
        [("http", "engine"), ("engine", "kv"), ("runner", "model"), ("telemetry", "config")]
    {
        assert!(may_use(room, other), "{room} → {other}");
    }
    for (room, other) in [
        ("kv", "engine"),
        ("telemetry", "engine"),
        ("text", "kv"),
        ("engine", "http"),
        ("types", "error"),
        ("model", "config"),
        ("http", "serve"),
        ("http", "nowhere"),
    ] {
        assert!(!may_use(room, other), "{room} → {other}");
    }
}

#[test]
fn the_search_finds_paths() {
    let text = "use crate::kv::Pool;\n// crate::http\nuse crate::{types::{A, B}, error::E,\n    \
                runner};\nfn f(x: crate::engine::X) { $crate::y!(); }\n";
    let found = uses(text);
    let names: Vec<(usize, &str)> =
        found.iter().map(|(line, name)| (*line, name.as_str())).collect();
    let wanted = [(1, "kv"), (3, "types"), (3, "error"), (3, "runner"), (5, "engine"), (5, "y")];
    assert_eq!(names, wanted);
}
