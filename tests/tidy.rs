//! The bounds that keep the code readable: length of files and functions, columns, and nothing
//! left for later. A bound can be raised for a file in [`RAISED`], with the reason.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;

/// Path, bound on its lines, and why.
const RAISED: &[(&str, usize, &str)] = &[];

/// Words that mean unfinished work; written apart, so that this file passes.
const LEFTOVERS: [&str; 5] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), "dbg!(", "todo!(", "#[ignore"];

fn main_folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "kernels", "tests", "benches"].map(|name| root.join(name));
    folders.into_iter().filter(|folder| folder.is_dir()).collect()
}

fn sources() -> Vec<PathBuf> {
    let mut folders = main_folders();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !["__pycache__", "node_modules"].contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if ["rs", "cu", "cuh", "cc", "h", "py", "sh"]
                .iter()
                .any(|extension| path.extension().is_some_and(|found| found == *extension))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn relative(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    path.strip_prefix(root).expect("inside the repository").display().to_string()
}

fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_are_short_and_narrow() {
    let mut complaints = Vec::new();
    for path in sources() {
        let name = relative(&path);
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        let raised = RAISED.iter().find(|(file, ..)| *file == name);
        let bound = raised.map_or(MAX_FILE_LINES, |(_, bound, _)| *bound);
        let lines = text.lines().count();
        if lines > bound {
            complaints.push(format!("{name}: {lines} lines, and {bound} are the bound"));
        }
        for (i, line) in text.lines().enumerate() {
            let (at, columns) = (i + 1, line.chars().count());
            if columns > MAX_COLUMNS {
                complaints.push(format!("{name}:{at}: {columns} columns"));
            }
            if line.ends_with([' ', '\t', '\r']) {
                complaints.push(format!("{name}:{at}: space at the end"));
            }
        }
    }
    report(complaints);
}

#[test]
fn nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    for path in sources().into_iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        for (i, line) in text.lines().enumerate() {
            for word in LEFTOVERS.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{}: {word}", relative(&path), i + 1));
            }
        }
    }
    report(complaints);
}

#[test]
fn functions_fit_a_screen() {
    let mut complaints = Vec::new();
    for path in sources().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        for (at, name, length) in functions(&text) {
            if length > MAX_FUNCTION_LINES {
                let file = relative(&path);
                complaints.push(format!("{file}:{at}: fn {name} has {length} lines"));
            }
        }
    }
    report(complaints);
}

/// First line, name and length of each function. rustfmt puts a function's last brace alone, as
/// far in as its first line, so that no parser is needed.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function_name(code) else { continue };
        let indent = &line[..line.len() - code.len()];
        let end = lines[i..].iter().position(|line| {
            let ends = |rest: &str| rest == "}" || rest.ends_with(';') || rest.ends_with("{}");
            line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with(' ') && ends(rest))
        });
        found.push((i + 1, name.to_owned(), end.map_or(lines.len() - i, |end| end + 1)));
    }
    found
}

/// The name behind `fn`, after any of its modifiers.
fn function_name(code: &str) -> Option<&str> {
    let mut words = code.split(' ');
    loop {
        let word = words.next()?;
        if word == "fn" {
            let name = words.next()?;
            return name.split(['(', '<']).next();
        }
        let modifier = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
        if !(modifier.contains(&word) || word.starts_with("pub(")) {
            return None;
        }
    }
}

#[test]
fn the_measure_of_functions_measures() {
    let body = "        let x = 1;\n".repeat(80);
    let text = format!("impl A {{\n    pub(super) unsafe fn long<T>() {{\n{body}    }}\n}}\n");
    assert_eq!(functions(&text), [(2, "long".to_owned(), 82)]);
    assert_eq!(functions("fn a();\n\nfn b() {}\n").len(), 2);
}

#[test]
fn raised_bounds_are_needed_and_explained() {
    for (file, bound, why) in RAISED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{file} is gone"));
        let lines = text.lines().count();
        assert!(lines > MAX_FILE_LINES, "{file} has {lines} lines: its bound need not be raised");
        assert!(*bound < lines + 50, "{file} has {lines} lines: lower its bound");
        assert!(!why.is_empty(), "{file}: why?");
    }
}
