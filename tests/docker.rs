//! `Dockerfile.cuda` beside the repository: what it names exists here, and its images are what the
//! README says of them. No image is built.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An instruction: its word, and the rest with continued lines joined.
struct Instruction {
    word: String,
    rest: String,
}

/// What begins with a FROM.
struct Stage {
    name: String,
    base: String,
    instructions: Vec<Instruction>,
}

struct Dockerfile {
    args: HashMap<String, String>,
    stages: Vec<Stage>,
}

/// Joins continued lines and here-documents; leaves comments out.
fn instructions(text: &str) -> Vec<Instruction> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut whole = line.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole += lines.next().expect("a line goes on");
        }
        if let Some((_, mark)) = whole.split_once("<<") {
            let mark = mark.trim_matches('\'').to_owned();
            for line in lines.by_ref().take_while(|line| *line != mark) {
                whole = format!("{whole}\n{line}");
            }
        }
        let (word, rest) = whole.split_once(' ').expect("a word and more");
        found.push(Instruction { word: word.to_owned(), rest: rest.trim().to_owned() });
    }
    found
}

fn dockerfile() -> Dockerfile {
    let mut file = Dockerfile { args: HashMap::new(), stages: Vec::new() };
    for instruction in instructions(&read("Dockerfile.cuda")) {
        if instruction.word == "ARG" {
            let (name, value) = instruction.rest.split_once('=').expect("with a default");
            file.args.insert(name.to_owned(), value.to_owned());
        }
        if instruction.word == "FROM" {
            let (base, name) = instruction.rest.split_once(" AS ").expect("a named stage");
            let stage =
                Stage { name: name.to_owned(), base: base.to_owned(), instructions: Vec::new() };
            file.stages.push(stage);
        } else if let Some(stage) = file.stages.last_mut() {
            stage.instructions.push(instruction);
        }
    }
    file
}

impl Stage {
    fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.instructions.iter().filter(move |i| i.word == word).map(|i| i.rest.as_str())
    }

    /// The only instruction of this word.
    fn one<'a>(&'a self, word: &'a str) -> &'a str {
        let all: Vec<_> = self.all(word).collect();
        assert_eq!(all.len(), 1, "{}: {word}", self.name);
        all[0]
    }
}

impl Dockerfile {
    fn stage(&self, name: &str) -> &Stage {
        self.stages.iter().find(|stage| stage.name == name).expect("a stage of this name")
    }

    /// With the file's own arguments in their places.
    fn resolved(&self, text: &str) -> String {
        self.args.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        })
    }
}

fn manifest() -> String {
    read("Cargo.toml")
}

#[test]
fn the_toolchain_is_that_of_the_repository() {
    let file = dockerfile();
    let wanted = format!("rust-version = \"{}\"", file.args["RUST"].trim_end_matches(".0"));
    assert!(manifest().contains(&wanted), "{wanted}");
}

#[test]
fn images_are_built_from_the_lock_and_from_features_that_exist() {
    let file = dockerfile();
    let builds: Vec<&str> = (file.stages.iter())
        .flat_map(|stage| stage.all("RUN"))
        .filter(|run| run.contains("cargo build"))
        .collect();
    assert_eq!(builds.len(), 2);
    let manifest = manifest();
    let features = manifest.split("[features]").nth(1).unwrap_or_default();
    let features = features.split("\n[").next().unwrap_or_default();
    for build in builds {
        assert!(build.contains("cargo build --release --locked --bin glassbox"), "{build}");
        if let Some((_, rest)) = build.split_once("--features ") {
            let feature = rest.split_whitespace().next().expect("a feature");
            assert!(features.lines().any(|line| line.starts_with(&format!("{feature} = "))));
        }
    }
    assert!(file.stage("build-cuda").one("RUN").contains("--features cuda"));
}

#[test]
fn bases_are_pinned_and_stages_known() {
    let file = dockerfile();
    let mut known: Vec<&str> = Vec::new();
    for stage in &file.stages {
        if !known.contains(&stage.base.as_str()) {
            let base = file.resolved(&stage.base);
            let (_, tag) = base.rsplit_once(':').expect("a tag");
            assert!(tag.contains(|c: char| c.is_ascii_digit()) && !tag.contains('$'), "{base}");
        }
        for copy in stage.all("COPY").filter_map(|copy| copy.strip_prefix("--from=")) {
            let from = copy.split(' ').next().expect("a stage");
            assert!(known.contains(&from), "{from}");
        }
        known.push(&stage.name);
    }
    assert_eq!(known.last(), Some(&"cuda"), "the last stage is what is built by default");
}

#[test]
fn what_is_copied_exists_and_is_not_ignored() {
    let let_in: Vec<String> = (read(".dockerignore").lines())
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();
    let mut copied = Vec::new();
    for stage in dockerfile().stages {
        for copy in stage.all("COPY").filter(|copy| !copy.starts_with("--from=")) {
            let mut sources: Vec<_> = copy.split(' ').map(str::to_owned).collect();
            sources.pop();
            copied.extend(sources);
        }
    }
    copied.sort();
    let mut expected = let_in.clone();
    expected.sort();
    assert_eq!(copied, expected);
    for source in &copied {
        assert!(root().join(source).exists(), "{source}");
    }
    // What the manifest names is among it.
    for line in manifest().lines() {
        let path = line.strip_prefix("path = ").or(line.strip_prefix("build = "));
        let Some(path) = path.map(|path| Path::new(path.trim_matches('"'))) else { continue };
        assert!(copied.iter().any(|source| path.starts_with(source)), "{}", path.display());
    }
}

#[test]
fn images_run_the_program_as_nobody_in_particular_and_hold_no_python() {
    let file = dockerfile();
    for name in ["cpu", "cuda"] {
        let stage = file.stage(name);
        let user = stage.one("USER");
        assert!(user.split(':').next().is_some_and(|user| user.parse::<u32>().unwrap() > 0));
        assert_eq!(stage.one("ENTRYPOINT"), r#"["/usr/local/bin/vllm", "serve"]"#);
        let health = stage.one("HEALTHCHECK");
        assert!(health.ends_with(r#"CMD ["/usr/local/bin/glassbox", "healthcheck"]"#), "{health}");
        let run = stage.one("RUN");
        assert!(run.contains("ln -s glassbox /usr/local/bin/vllm"), "{run}");
        assert!(run.contains("useradd --system --uid 10001 --gid 0 "), "{run}");
        for instruction in &stage.instructions {
            assert!(!instruction.rest.contains("python"), "{}", instruction.rest);
        }
        let copies: Vec<_> = stage.all("COPY").collect();
        assert_eq!(copies.len(), 2);
        assert!(copies.contains(&"--from=nixl /opt/nixl /opt/nixl"));
        let env = stage.one("ENV");
        assert!(env.contains("GLASSBOX_NIXL_LIB=/opt/nixl/.nixl_cu13.mesonpy.libs"), "{env}");
    }
}

#[test]
fn nixl_is_the_tested_version_without_what_is_proprietary() {
    let file = dockerfile();
    let version = &file.args["NIXL"];
    assert!(read("tests/peers/run").contains(&format!("nixl-cu13=={version}")), "{version}");
    let picking: Vec<_> =
        file.stage("nixl").all("RUN").filter(|run| run.starts_with("<<")).collect();
    assert_eq!(picking.len(), 1);
    for module in ["_ext", "_gda", "_gdp", "nixl_ep", "_bindings"] {
        assert!(!picking[0].contains(module), "{module}");
    }
}
