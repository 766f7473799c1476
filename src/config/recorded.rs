//! The table and the grammar beside what was recorded from vLLM's own parsers
//! (`tests/data/cli/record.py`).

use super::*;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use table::{BENCHES, COMMANDS, Default, Flag, Kind};

mod groups;

const FLAGS: &str = include_str!("../../tests/data/cli/flags.json");
const REPLIES: &str = include_str!("../../tests/data/cli/replies.jsonl");

/// Flags that vLLM gives to `command`; those it shares with `serve` are looked up there.
fn recorded(command: &str) -> Vec<Json> {
    let flags: Map<String, Json> = serde_json::from_str(FLAGS).expect("recorded flags");
    let serve = flags["serve"].as_array().expect("a list");
    let named = |name: &str| serve.iter().find(|flag| flag["names"][0] == name).expect("in serve");
    let flags = flags[command].as_array().expect("a list").iter();
    flags.map(|flag| flag.as_str().map_or(flag, named).clone()).collect()
}

/// The spellings of a flag; `None` for the model, for help and for the version.
fn spellings(flag: &Json) -> Option<Vec<String>> {
    let names: Vec<String> = serde_json::from_value(flag["names"].clone()).expect("names");
    let ours = names[0].starts_with('-') && !["-h", "-v"].contains(&names[0].as_str());
    ours.then_some(names)
}

fn kind(flag: &Json) -> Kind {
    let reader = flag["type"].as_str().unwrap_or("str");
    let reader = reader.trim_start_matches("_optional_type ").trim_start_matches("_parse_type ");
    match (flag["action"].as_str(), flag["nargs"].as_str()) {
        (Some("_StoreTrueAction"), _) => return Kind::Switch,
        (Some("BooleanOptionalAction"), _) => return Kind::Toggle,
        (Some("_AppendAction"), _) => return Kind::Append,
        (_, Some("+")) if reader == "int" => return Kind::Ints,
        (_, Some("+")) => return Kind::Texts,
        (_, Some("*")) => return Kind::AnyTexts,
        (_, Some("?")) => return Kind::MaybeText,
        _ => {}
    }
    match reader {
        "int" => Kind::Int,
        "float" => Kind::Float,
        "human_readable_int" => Kind::HumanInt,
        "human_readable_int_or_auto" => Kind::LengthOrAuto,
        "loads" | "parse_dataclass" | "union_dict_and_str" => Kind::Json,
        "<lambda>" if !flag["choices"].is_null() => Kind::Name,
        _ => Kind::Text,
    }
}

/// Whether `ours` is vLLM's default; what cannot be told from the outside counts as null.
fn same_default(flag: &Flag, theirs: &Json) -> bool {
    match (flag.default, theirs) {
        (Default::Bool(ours), Json::Bool(theirs)) => ours == *theirs,
        (Default::Int(ours), Json::Number(theirs)) => theirs.as_i64() == Some(ours),
        (Default::Float(ours), Json::Number(theirs)) => theirs.as_f64() == Some(ours),
        (Default::Float(ours), Json::String(theirs)) => python::repr_float(ours) == *theirs,
        (Default::Text(ours), Json::Number(theirs)) => theirs.to_string() == ours,
        (Default::Text(ours), Json::String(theirs)) => theirs == ours,
        (Default::Null, Json::Null | Json::Array(_) | Json::Object(_)) => true,
        (Default::Null, Json::String(theirs)) => {
            ["<object>", "<random>", "==SUPPRESS=="].contains(&&**theirs)
        }
        _ => false,
    }
}

#[test]
fn every_flag_of_vllm_stands_in_the_table_as_it_is() {
    let mut complaints = Vec::new();
    // The first has no flags, the second is not vLLM's.
    let apart = ["bench", "healthcheck"];
    for command in COMMANDS.iter().chain(BENCHES).filter(|c| !apart.contains(&c.name)) {
        let mut known = BTreeSet::new();
        for flag in recorded(command.name) {
            let Some(names) = spellings(&flag) else { continue };
            let name = names.iter().find(|name| name.starts_with("--")).expect("a long name");
            match command.flag(name) {
                Some(ours) => {
                    known.insert(ours.name);
                    complaints.extend(differences(command.name, ours, &names, &flag));
                }
                None => complaints.push(format!("{}: {name} is missing", command.name)),
            }
        }
        for flag in command.flags() {
            let ours = flag.name.starts_with("--glassbox-") || flag.name == "--device";
            if known.contains(flag.name) == ours {
                complaints.push(format!("{}: {} is not vLLM's", command.name, flag.name));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What is not as in vLLM about a flag of ours.
fn differences(command: &str, ours: &Flag, names: &[String], theirs: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{command}: {}: {what}: {ours}, not {theirs}", names.join("/")));
        }
    };
    differs("spellings", ours.spellings().join("/"), names.join("/"));
    // `bench latency` sets its own default when the settings are made.
    let by_hand = (command, ours.name) == ("bench latency", "--enable-prefix-caching");
    if !by_hand && !same_default(ours, &theirs["default"]) {
        differs("default", format!("{:?}", ours.default), theirs["default"].to_string());
    }
    let reader = theirs["type"].as_str().unwrap_or_default();
    let optional = reader.starts_with("_optional_type");
    differs("optional", ours.optional.to_string(), optional.to_string());
    // Adapters, dictionaries that a name may stand for, lists of devices and of sizes.
    let by_hand =
        ["--lora-modules", "--pt-load-map-location", "--device-ids", "--random-mm-bucket-config"];
    if !by_hand.contains(&ours.name) {
        differs("kind", format!("{:?}", ours.kind), format!("{:?}", kind(theirs)));
    }
    let choices = theirs["choices"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |choice: &Json| choice.as_str().map_or(choice.to_string(), str::to_owned);
    let choices = choices.iter().filter(|choice| !choice.is_null()).map(text);
    differs("choices", ours.choices.join(" "), choices.collect::<Vec<_>>().join(" "));
    found
}

/// What Glassbox makes of a line, as it is recorded of vLLM.
enum Outcome {
    Values(Map<String, Json>),
    Ends { code: u8, text: String },
}

fn outcome(argv: &[String]) -> Outcome {
    let find =
        |name: String| COMMANDS.iter().chain(BENCHES).find(|command| command.name == name).copied();
    let words = |count: usize| argv.iter().take(count).cloned().collect::<Vec<_>>().join(" ");
    let found = find(words(2)).filter(|_| argv.len() > 1).map(|command| (command, 2));
    let Some((command, taken)) =
        found.or_else(|| find(words(1)).filter(|c| c.name != "bench").map(|command| (command, 1)))
    else {
        return whole_program(argv);
    };
    let read = || {
        let rewritten = rewrite::rewrite(command, &argv[taken..])?;
        grammar::parse(command, &rewritten.args)
    };
    match read() {
        Err(Failure::Unrecognized(args)) => {
            let text = format!("unrecognized arguments: {}", args.join(" "));
            Outcome::Ends { code: 2, text }
        }
        Err(Failure::Usage(text)) => Outcome::Ends { code: 2, text },
        Err(Failure::Invalid(text)) => Outcome::Ends { code: 1, text },
        Ok(raw) if raw.help => Outcome::Ends { code: 0, text: String::new() },
        Ok(raw) => Outcome::Values(values(&raw)),
    }
}

/// What is said without looking at flags of a subcommand.
fn whole_program(argv: &[String]) -> Outcome {
    let args: Vec<String> = ["vllm"].map(str::to_owned).into_iter().chain(argv.to_vec()).collect();
    let exit = parse(&args, Env::read(|_| None)).expect_err("an exit");
    let text = exit.stderr.split_once("error: ").map_or("", |(_, text)| text.trim_end());
    Outcome::Ends { code: exit.code, text: text.to_owned() }
}

fn values(raw: &grammar::Raw) -> Map<String, Json> {
    let model = raw.model.iter().map(|model| ("model_tag".to_owned(), Json::from(model.as_str())));
    let flags =
        raw.all_given().filter(|(flag, value)| **value != value::Value::of_default(flag.default));
    let flags = flags.map(|(flag, value)| {
        let json = match value {
            value::Value::Null => Json::Null,
            value::Value::Bool(value) => Json::from(*value),
            value::Value::Int(value) => Json::from(*value),
            value::Value::Float(value) => Json::from(*value),
            value::Value::Text(value) => Json::from(value.as_str()),
            value::Value::Json(value) => value.clone(),
            value::Value::Texts(values) => Json::from(values.clone()),
        };
        (flag.name[2..].replace('-', "_"), json)
    });
    model.chain(flags).collect()
}

/// Lines that end otherwise on purpose: vLLM dies of an IndexError, reads integers of any size,
/// takes NaN for JSON, forgets a file that is given as `--config=`, and has subcommands that
/// Glassbox has not.
const OTHERWISE: [&str; 11] = [
    "serve --model",
    "serve m --default-chat-template-kwargs.a",
    "serve m --default-chat-template-kwargs {\"a\": NaN}",
    "serve m --seed 12345678901234567890",
    "serve m --config=nowhere.yaml",
    "serve m --device-ids 0,1",
    "serve m --device-ids a",
    "launch",
    "launch render m --port 1",
    "nothing",
    "bench nothing",
];

#[test]
fn command_lines_end_as_in_vllm() {
    let mut compared = 0;
    let mut complaints = Vec::new();
    for line in REPLIES.lines() {
        let reply: Map<String, Json> = serde_json::from_str(line).expect("a recorded line");
        let argv: Vec<String> = serde_json::from_value(reply["argv"].clone()).expect("arguments");
        let shown = argv.join(" ");
        if OTHERWISE.contains(&shown.as_str()) {
            continue;
        }
        compared += 1;
        if let Err(complaint) = compare(&with_folder(&argv), &reply) {
            complaints.push(format!("{shown}: {complaint}"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(compared > 240, "only {compared} lines were compared");
}

/// Files lie beside the recording.
fn with_folder(argv: &[String]) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cli/");
    let path = |arg: &String| match arg.ends_with(".yaml") {
        true => format!("{folder}{arg}"),
        false => arg.clone(),
    };
    argv.iter().map(path).collect()
}

fn compare(argv: &[String], reply: &Map<String, Json>) -> Result<(), String> {
    let error = reply.get("error").and_then(Json::as_str).unwrap_or_default();
    // Recorded values of a line that fails only when they are checked against each other.
    let theirs = reply.get("values").and_then(Json::as_object);
    match (outcome(argv), theirs) {
        (Outcome::Values(ours), Some(theirs)) => same_values(&ours, theirs),
        (Outcome::Ends { code, text }, None) => {
            if reply["code"] != code {
                return Err(format!("ends with {code}: {text}"));
            }
            let (kind, message) = error.split_once("Error: ").unwrap_or(("", error));
            let message = message.split("\n\nHint:").next().unwrap_or_default();
            // Python names a missing file in its own words.
            match kind == "FileNotFound" || text == message {
                true => Ok(()),
                false => Err(format!("says {text}, not {message}")),
            }
        }
        (Outcome::Ends { code, text }, Some(_)) => Err(format!("ends with {code}: {text}")),
        (Outcome::Values(_), None) => Err(format!("is read, but vLLM says {error}")),
    }
}

fn same_values(ours: &Map<String, Json>, theirs: &Map<String, Json>) -> Result<(), String> {
    for (name, value) in theirs {
        let ours = ours.get(name).ok_or_else(|| format!("{name} is missing"))?;
        // An object of Python's, and a NaN.
        if !["<object>", "NaN"].iter().any(|mark| value == mark) && ours != value {
            return Err(format!("{name} = {ours}, not {value}"));
        }
    }
    for (name, value) in ours {
        if !theirs.contains_key(name) && !value.is_null() && *value != Json::Bool(false) {
            return Err(format!("{name} = {value}, which is vLLM's default"));
        }
    }
    Ok(())
}
