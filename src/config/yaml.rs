//! `--config FILE`: flags from a YAML file, as arguments.
//!
//! Plain scalars mean what they mean to PyYAML (YAML 1.1: `yes` is true, `0o17` is text, `1e3` is
//! text), since that is what reads these files for vLLM. One difference on purpose: `key: false`
//! always becomes `--no-key`, where vLLM's command line drops it without a word.

use super::{python, table};
use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Map, Value as Json};

/// More than any configuration; bounds what a wrong path can make us read.
const MAX_BYTES: u64 = 1 << 20;

/// The flags that the file holds, in its order. The error is one sentence.
pub(super) fn read_flags(path: &str) -> Result<Vec<String>, String> {
    let extension = path.rsplit('.').next().unwrap_or_default();
    if !["yaml", "yml"].contains(&extension) {
        return Err(format!("Config file must be of a yaml/yml type. {extension} supplied"));
    }
    let unreadable = |reason: String| {
        format!("Unable to read the config file at {path}. Check path correctness: {reason}")
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(unreadable(format!("it has {size} bytes, and {MAX_BYTES} are the limit")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    flags_of(&text).map_err(|reason| format!("The config file {path} is wrong: {reason}"))
}

fn flags_of(text: &str) -> Result<Vec<String>, String> {
    let mut loader = YamlLoader::<Yaml>::default();
    loader.early_parse(false);
    loader.allow_duplicate_keys(true);
    let mut parser = Parser::new_from_str(text);
    parser.load(&mut loader, true).map_err(|error| error.to_string())?;
    if let Some(error) = loader.error() {
        return Err(error.to_string());
    }
    let documents = loader.into_documents();
    let fields = match documents.as_slice() {
        [document] => match plain(document)? {
            Json::Object(fields) => fields,
            _ => return Err("it must be a mapping from flags to values".to_owned()),
        },
        _ => return Err(format!("it must hold one document, not {}", documents.len())),
    };
    let mut args = Vec::new();
    for (key, value) in fields {
        push_flag(&key, value, &mut args);
    }
    Ok(args)
}

fn push_flag(key: &str, value: Json, args: &mut Vec<String>) {
    let name = format!("--{key}");
    match value {
        Json::Bool(true) => args.push(name),
        Json::Bool(false) => {
            let spelled = name.replace('_', "-");
            let known = table::SERVE.flags().find(|flag| flag.name == spelled);
            if known.is_none_or(|flag| flag.negation().is_some()) {
                args.push(format!("--no-{key}"));
            }
        }
        Json::Array(items) if items.is_empty() => {}
        Json::Array(items) => {
            args.push(name);
            args.extend(items.iter().map(as_argument));
        }
        value => args.extend([name, as_argument(&value)]),
    }
}

/// Python's `str`.
fn as_argument(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) if number.is_f64() => {
            python::repr_float(number.as_f64().unwrap_or_default())
        }
        value => value.to_string(),
    }
}

fn plain(node: &Yaml) -> Result<Json, String> {
    match node {
        Yaml::Representation(text, ScalarStyle::Plain, None) => Ok(resolve(text)),
        Yaml::Representation(text, _, None) => Ok(Json::from(text.as_ref())),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let key = as_argument(&plain(key)?);
                object.insert(key, plain(value)?);
            }
            Ok(Json::Object(object))
        }
        Yaml::Representation(_, _, Some(tag)) => Err(format!("the tag {tag} has no meaning here")),
        Yaml::Tagged(tag, _) => Err(format!("the tag {tag} has no meaning here")),
        Yaml::Value(_) | Yaml::Alias(_) | Yaml::BadValue => {
            Err("it holds a value that cannot be read".to_owned())
        }
    }
}

/// A plain scalar by the rules of YAML 1.1, as far as PyYAML follows them.
fn resolve(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Json::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Json::Bool(false);
        }
        _ => {}
    }
    let number = integer(text).map(Json::from).or_else(|| float(text).map(Json::from));
    number.unwrap_or_else(|| Json::from(text))
}

fn integer(text: &str) -> Option<i64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (radix, digits) = match body.strip_prefix('0') {
        Some("") => (10, "0"),
        Some(rest) if rest.starts_with('b') => (2, &rest[1..]),
        Some(rest) if rest.starts_with('x') => (16, &rest[1..]),
        Some(rest) => (8, rest),
        None => (10, body),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&digits.replace('_', ""), radix).ok().map(|value| sign * value)
}

/// With a point, and with a signed exponent if any.
fn float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, part) = mantissa.split_once('.')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent.strip_prefix(['+', '-']).is_some_and(|rest| python::int(rest).is_some())
    });
    let starts_with_digit =
        mantissa.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    if digits(whole) && digits(part) && exponent_fits && starts_with_digit {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Vec<String> {
        flags_of(text).expect("a good file")
    }

    #[test]
    fn each_kind_of_value_becomes_arguments() {
        let text = "model: Qwen/Qwen3-0.6B\nport: 8_200\nserved_model_name: [a, 'b c']\n\
                    enforce-eager: yes\nenable-prefix-caching: false\ndisable-log-stats: false\n\
                    override-generation-config:\n  temperature: 0.50\n  top_k: 0x10\n\
                    watermark: 0.10\nrevision:\nhost: '0.0.0.0'\ndownload-dir: 1e3\napi-key: []\n";
        let wanted = [
            "--model",
            "Qwen/Qwen3-0.6B",
            "--port",
            "8200",
            "--served_model_name",
            "a",
            "b c",
            "--enforce-eager",
            "--no-enable-prefix-caching",
            "--override-generation-config",
            "{\"temperature\":0.5,\"top_k\":16}",
            "--watermark",
            "0.1",
            "--revision",
            "None",
            "--host",
            "0.0.0.0",
            "--download-dir",
            "1e3",
        ];
        assert_eq!(flags(text), wanted);
    }

    #[test]
    fn scalars_are_those_of_pyyaml() {
        for (text, value) in [
            ("017", Json::from(15)),
            ("0b101", Json::from(5)),
            ("-0x1F", Json::from(-31)),
            ("0o17", Json::from("0o17")),
            ("1_000", Json::from(1000)),
            ("1.5e+3", Json::from(1500.0)),
            ("1.5e3", Json::from("1.5e3")),
            (".5", Json::from(0.5)),
            ("1.", Json::from(1.0)),
            ("1.2.3", Json::from("1.2.3")),
            ("Off", Json::from(false)),
            ("y", Json::from("y")),
            ("~", Json::Null),
            ("089", Json::from("089")),
            (".", Json::from(".")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn wrong_files_say_why() {
        for (text, part) in [
            ("- a\n", "must be a mapping"),
            ("a: 1\n---\nb: 2\n", "one document, not 2"),
            ("", "one document, not 0"),
            ("a: !x 1\n", "tag"),
            ("a: [1\n", "line"),
        ] {
            let error = flags_of(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let error = read_flags("settings.json").expect_err("not YAML");
        assert_eq!(error, "Config file must be of a yaml/yml type. json supplied");
    }
}
