//! Help texts, in the shape of vLLM's.

use super::table::{BENCHES, COMMANDS, Command, Default, Flag, Kind, Status};
use std::fmt::Write;

/// Columns of a help text; fixed, so that it does not depend on the terminal.
const WIDTH: usize = 100;
/// Where the description of a flag starts.
const COLUMN: usize = 24;

/// Subcommands that vLLM has and Glassbox has not, and why.
pub(super) const REFUSED: [(&str, &str); 4] = [
    ("launch", "there is no rendering server of its own: give a server --enable-scale-out"),
    ("download-kernels", "the kernels are part of the program"),
    ("preload", "a process loads one model, and starts in the time that it takes to read it"),
    ("snapshot", "a process starts in the time that it takes to read its model"),
];

/// The same of `bench`.
pub(super) const REFUSED_BENCHES: [(&str, &str); 3] = [
    ("mm-processor", "Glassbox serves no media"),
    ("startup", "every start logs how long each of its phases took"),
    ("sweep", "one line of shell runs `bench serve` with other flags"),
];

/// The usage of the program as a whole, as argparse puts it in front of an error.
pub(super) fn program_usage(program: &str) -> String {
    format!("usage: {program} [-h] [-v] {{{}}} ...\n", names().join(","))
}

/// The words that may follow the program's name.
pub(super) fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|command| command.name).collect()
}

/// The usage line of a subcommand.
pub(super) fn usage(program: &str, command: &Command) -> String {
    format!("usage: {program} {} {}", command.name, command.usage).trim_end().to_owned() + "\n"
}

fn list(commands: &[&Command], out: &mut String) {
    for command in commands {
        let name = command.name.rsplit(' ').next().unwrap_or_default();
        let _ = writeln!(out, "    {name:<20}{}", command.about);
    }
}

/// `glassbox --help`, and what stands when no subcommand is given.
pub(super) fn program_help(program: &str) -> String {
    let mut out = format!(
        "{}\nGlassbox: a vLLM-compatible server for Qwen3 models\n\n\
         positional arguments:\n  {{{}}}\n",
        program_usage(program),
        names().join(",")
    );
    list(COMMANDS, &mut out);
    out + "\noptions:\n  \
         -h, --help            show this help message and exit\n  \
         -v, --version         show program's version number and exit\n\n"
        + &epilog(program, "[subcommand]")
}

/// `glassbox bench --help`.
pub(super) fn bench_help(program: &str, bench: &Command) -> String {
    let mut out = format!("{}\n{}\n\nbench_type:\n", usage(program, bench), bench.about);
    list(BENCHES, &mut out);
    out
}

fn epilog(program: &str, subcommand: &str) -> String {
    let line = |what: &str, word: &str, note: &str| {
        let command = format!("{program} {subcommand} --help={word}");
        format!("{what:<25} {command:<43} {note}").trim_end().to_owned() + "\n"
    };
    line("For full list:", "all", "")
        + &line("For a section:", "ModelConfig", "(case-insensitive)")
        + &line("For a flag:", "max-model-len", "(_ or - accepted)")
}

/// `--help` of a subcommand, or `--help=ABOUT` with `about` in lower case and with dashes.
pub(super) fn command_help(program: &str, command: &Command, about: Option<&str>) -> String {
    match about {
        None => overview(program, command),
        Some("all") => everything(program, command),
        Some(word) => search(command, word),
    }
}

fn overview(program: &str, command: &Command) -> String {
    let usage = usage(program, command);
    let mut out = format!("{usage}\n{}\n\nConfig Groups:\n", command.about);
    let mut last = "";
    for group in
        command.groups().filter(|group| std::mem::replace(&mut last, group.title) != group.title)
    {
        let _ = writeln!(out, "  {:<24}{}", group.title, group.about);
    }
    out + "\n" + &epilog(program, command.name)
}

fn everything(program: &str, command: &Command) -> String {
    let mut out = usage(program, command);
    if let Some(name) = command.positional {
        let _ =
            write!(out, "\npositional arguments:\n  {name:<22}The model: a folder or a hub id.\n");
    }
    let mut last = "";
    for group in command.groups() {
        if std::mem::replace(&mut last, group.title) != group.title {
            let _ = write!(out, "\n{}:\n  {}\n\n", group.title, group.about);
            if group.title == "options" {
                out.push_str("  -h, --help            show this help message and exit\n");
            }
        }
        push_flags(group.flags.iter(), &mut out);
    }
    out + "\n" + JSON_TIP
}

fn search(command: &Command, word: &str) -> String {
    let mut out = String::new();
    let mut groups = command.groups().filter(|group| group.title.to_lowercase() == word).peekable();
    if let Some(group) = groups.peek() {
        let _ = write!(out, "{}:\n  {}\n\n", group.title, group.about);
        push_flags(groups.flat_map(|group| group.flags), &mut out);
        return out + "\n" + JSON_TIP;
    }
    let matches = |flag: &&Flag| flag.spellings().iter().any(|name| name.contains(word));
    let found: Vec<_> = command.flags().filter(matches).collect();
    if found.is_empty() {
        return format!(
            "No group or arguments matching '{word}'.\n\
             Use '--help' to see available groups or '--help=all' to see all available \
             parameters.\n"
        );
    }
    let _ = writeln!(out, "Arguments matching '{word}':");
    push_flags(found.into_iter(), &mut out);
    out + "\n" + JSON_TIP
}

const JSON_TIP: &str = "\
JSON flags take one JSON text, or their keys one by one; these are the same:
   --json-arg '{\"key1\": \"value1\", \"key2\": {\"key3\": \"value2\"}}'
   --json-arg.key1 value1 --json-arg.key2.key3 value2

A key with + adds to a list; these are the same:
   --json-arg '{\"key4\": [\"value3\", \"value4\", \"value5\"]}'
   --json-arg.key4+ value3 --json-arg.key4+='value4,value5'
";

fn push_flags(flags: impl Iterator<Item = &'static Flag>, out: &mut String) {
    let mut flags: Vec<_> = flags.collect();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let head = format!("  {}", invocation(flag));
        let lines = wrap(&description(flag), WIDTH - COLUMN);
        let mut lines = lines.iter();
        if head.len() + 2 <= COLUMN {
            let first = lines.next().map_or("", String::as_str);
            let _ = writeln!(out, "{head:<COLUMN$}{first}");
        } else {
            let _ = writeln!(out, "{head}");
        }
        for line in lines {
            let _ = writeln!(out, "{:COLUMN$}{line}", "");
        }
    }
}

fn invocation(flag: &Flag) -> String {
    let metavar = flag.metavar();
    let values = match flag.kind {
        Kind::Switch | Kind::Toggle => String::new(),
        Kind::Texts | Kind::Ints => format!(" {metavar} [{metavar} ...]"),
        Kind::AnyTexts => format!(" [{metavar} ...]"),
        Kind::MaybeText => format!(" [{metavar}]"),
        _ => format!(" {metavar}"),
    };
    flag.spellings().iter().map(|name| format!("{name}{values}")).collect::<Vec<_>>().join(", ")
}

fn description(flag: &Flag) -> String {
    let text = match flag.status {
        Status::Built { help } => help.to_owned(),
        Status::Hint { why } => format!("Changes nothing here: {why}."),
        Status::Refused { why } => format!("Not supported: {why}."),
    };
    match flag.default {
        Default::Null => text,
        Default::Bool(value) => {
            format!("{text} (default: {})", if value { "True" } else { "False" })
        }
        Default::Int(value) => format!("{text} (default: {value})"),
        Default::Float(value) => format!("{text} (default: {value:?})"),
        Default::Text(value) => format!("{text} (default: {value})"),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            let gap = if line.is_empty() { "" } else { " " };
            line.push_str(gap);
            line.push_str(word);
        }
    }
    lines
}
