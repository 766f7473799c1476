//! `--help=all` beside what vLLM's parsers would print: which flags there are in which group, in
//! which order the groups come, and how spellings and values are written.

use super::*;

/// Flags whose values vLLM shows as a Python list, or as what a parser's plugins add to.
const OTHERWISE: [&str; 6] = [
    "--tool-call-parser",
    "--tokenizer-mode",
    "--config-format",
    "--model-impl",
    "--distributed-executor-backend",
    "--log-config-file",
];

/// The head of a flag's help, as argparse writes it.
fn head(flag: &Json, names: &[String]) -> String {
    let long = names.iter().find(|name| name.starts_with("--")).expect("a long name");
    let metavar = match (flag["metavar"].as_str(), flag["choices"].as_array()) {
        (Some(metavar), _) => metavar.to_owned(),
        (None, Some(choices)) => {
            let text = |choice: &Json| choice.as_str().map_or(choice.to_string(), str::to_owned);
            let shown = choices.iter().filter(|choice| !choice.is_null()).map(text);
            format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
        }
        (None, None) => long[2..].replace('-', "_").to_uppercase(),
    };
    let values = match flag["nargs"].as_str() {
        _ if flag["nargs"] == 0 => String::new(),
        Some("?") => format!(" [{metavar}]"),
        Some("*") => format!(" [{metavar} ...]"),
        Some("+") => format!(" {metavar} [{metavar} ...]"),
        _ => format!(" {metavar}"),
    };
    names.iter().map(|name| format!("{name}{values}")).collect::<Vec<_>>().join(", ")
}

/// Groups with the heads of their flags, of a text of `--help=all`.
fn groups(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let tips = text.find("\nJSON flags take").expect("tips at the end");
    for line in text[..tips].lines() {
        match line.strip_prefix("  ") {
            Some(flag) if flag.starts_with('-') => {
                let (_, flags) = found.last_mut().expect("a group");
                // The description may follow on the line.
                flags.push(flag.split("  ").next().unwrap_or(flag));
            }
            None if line.ends_with(':') => found.push((line.trim_end_matches(':'), Vec::new())),
            _ => {}
        }
    }
    found
}

#[test]
fn help_shows_groups_and_values_as_vllm_does() {
    let help = help::command_help("vllm", &table::SERVE, Some("all"));
    let ours = groups(&help);
    let mut theirs: Vec<(String, Vec<String>)> = Vec::new();
    for flag in recorded("serve") {
        let group = flag["group"].as_str().expect("a group").to_owned();
        if theirs.last().is_none_or(|(last, _)| *last != group) {
            theirs.push((group, Vec::new()));
        }
        let Some(names) = spellings(&flag) else { continue };
        if !names.iter().any(|name| OTHERWISE.contains(&name.as_str())) {
            theirs.last_mut().expect("pushed").1.push(head(&flag, &names));
        }
    }
    let titles: Vec<&str> = ours.iter().map(|(title, _)| *title).collect();
    let (own, shared) = titles.split_last().expect("groups");
    assert_eq!(*own, "Glassbox");
    assert_eq!(shared, theirs.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>());
    let mut count = 0;
    for ((title, flags), (_, wanted)) in ours.iter().zip(&theirs) {
        let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        let is_compared = |flag: &&&str| {
            let names = flag.split([' ', ',']);
            **flag != "-h, --help" && !names.into_iter().any(|name| OTHERWISE.contains(&name))
        };
        let mut flags: Vec<&str> = flags.iter().filter(is_compared).copied().collect();
        flags.sort_unstable();
        assert_eq!(flags, wanted, "{title}");
        count += flags.len();
    }
    assert!(count > 300, "{count} flags were compared");
}
