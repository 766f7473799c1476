//! What vLLM does to arguments before argparse sees them: the model of `serve` moves to the front,
//! a configuration file is inlined, names are spelled with dashes, and dotted keys are merged into
//! JSON.

use super::exit::Failure;
use super::table::Command;
use super::{python, yaml};
use serde_json::{Map, Value as Json};

/// The arguments for the grammar, the help that was asked for, and what the user should hear.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rewritten {
    pub args: Vec<String>,
    /// The word of `--help=WORD`, in lower case.
    pub help_about: Option<String>,
    pub warnings: Vec<String>,
}

/// Rewrites what follows the words of a subcommand.
pub(super) fn rewrite(command: &Command, args: &[String]) -> Result<Rewritten, Failure> {
    let mut out = Rewritten::default();
    let takes_model = command.positional.is_some();
    let args = match takes_model {
        true => model_first(args, &mut out.warnings)?,
        false => args.to_vec(),
    };
    let args = inline_config(args, takes_model)?;
    let args = spell_with_dashes(&args, &mut out.help_about);
    out.args = merge_dotted(args, &mut out.warnings)?;
    Ok(out)
}

/// Whether `arg` is `name` or `name=…`.
fn is_flag(arg: &str, name: &str) -> bool {
    arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn model_first(args: &[String], warnings: &mut Vec<String>) -> Result<Vec<String>, Failure> {
    let mut args = args.to_vec();
    if let Some(at) = args.iter().position(|arg| is_flag(arg, "--model")) {
        warnings.push(
            "With `vllm serve`, you should provide the model as a positional argument or in a \
             config file instead of via the `--model` option. The `--model` option will be \
             removed in a future version."
                .to_owned(),
        );
        let model = match args[at].strip_prefix("--model=") {
            Some(model) => model.to_owned(),
            None if at + 1 == args.len() => {
                return Err(Failure::usage("argument --model: expected one argument"));
            }
            None => args.remove(at + 1),
        };
        args.remove(at);
        args.insert(0, model);
    }
    let named = |arg: &String| is_flag(&arg.replace('_', "-"), "--served-model-name");
    if args.first().is_some_and(|first| first.starts_with('-'))
        && args.iter().any(named)
        && !args.iter().any(|arg| is_flag(arg, "--config"))
    {
        return Err(Failure::invalid(
            "`model` should be provided as the first positional argument when using `vllm \
             serve`. i.e. `vllm serve <model> --<arg> <value>`.",
        ));
    }
    Ok(args)
}

/// Puts the flags of `--config FILE` behind the model and before all others, so that these win.
fn inline_config(mut args: Vec<String>, takes_model: bool) -> Result<Vec<String>, Failure> {
    let Some(at) = args.iter().position(|arg| is_flag(arg, "--config")) else { return Ok(args) };
    let flag = args.remove(at);
    let path = match flag.strip_prefix("--config=") {
        Some(path) => path.to_owned(),
        None if at < args.len() => args.remove(at),
        None => {
            return Err(Failure::invalid(
                "No config file specified! Please check your command-line arguments.",
            ));
        }
    };
    if args.iter().any(|arg| is_flag(arg, "--config")) {
        return Err(Failure::invalid("More than one config file specified!"));
    }
    let from_file = yaml::read_flags(&path).map_err(Failure::invalid)?;
    let model_in_args = takes_model && at > 0 && !args[0].starts_with('-');
    if takes_model && !model_in_args && !from_file.iter().any(|arg| arg == "--model") {
        return Err(Failure::invalid(
            "No model specified! Please specify model either as a positional argument or in a \
             config file.",
        ));
    }
    let place = usize::from(model_in_args);
    args.splice(place..place, from_file);
    Ok(args)
}

fn spell_with_dashes(args: &[String], help_about: &mut Option<String>) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    for (i, arg) in args.iter().enumerate() {
        if let Some(word) = arg.strip_prefix("--help=") {
            *help_about = Some(word.to_lowercase().replace('_', "-"));
            out.push("--help".to_owned());
        } else if arg.starts_with("--") {
            let end = arg.find(['.', '=']).unwrap_or(arg.len());
            out.push(arg[..end].replace('_', "-") + &arg[end..]);
        } else if let Some(level) = arg.strip_prefix("-O").filter(|level| !level.is_empty()) {
            out.push("--optimization-level".to_owned());
            out.push(level.strip_prefix('=').unwrap_or(level).to_owned());
        } else if arg == "-O"
            && args.get(i + 1).is_some_and(|next| ["0", "1", "2", "3"].contains(&next.as_str()))
        {
            out.push("--optimization-level".to_owned());
        } else {
            out.push(arg.clone());
        }
    }
    out
}

/// Whether `arg` is a flag with a dotted key; negative numbers are not.
fn dotted_name(arg: &str) -> Option<&str> {
    let name = arg.split_once('=').map_or(arg, |(name, _)| name);
    let flag = name.starts_with('-') && !name[1..].starts_with(|c: char| c.is_ascii_digit());
    (flag && name.contains('.') && !name.starts_with("-.")).then_some(name)
}

/// Takes all dotted flags out and appends one JSON object for each name at the end.
fn merge_dotted(args: Vec<String>, warnings: &mut Vec<String>) -> Result<Vec<String>, Failure> {
    let mut out: Vec<String> = Vec::with_capacity(args.len());
    let mut objects: Vec<(String, Map<String, Json>)> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut duplicates: Vec<String> = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let Some(name) = dotted_name(&arg) else {
            if arg.starts_with("--") {
                let name = arg.split_once('=').map_or(arg.as_str(), |(name, _)| name);
                note_duplicate(name.to_owned(), &mut seen, &mut duplicates);
            }
            out.push(arg);
            continue;
        };
        let text = match arg.split_once('=') {
            Some((_, text)) => text.to_owned(),
            None => args
                .next()
                .ok_or_else(|| Failure::usage(format!("argument {name}: expected one argument")))?,
        };
        let (name, value) = match name.strip_suffix('+') {
            Some(name) => (name, Json::from(text.split(',').collect::<Vec<_>>())),
            None => (name, dotted_value(&text)),
        };
        let mut keys = name.split('.');
        let flag = keys.next().unwrap_or_default();
        let keys: Vec<&str> = keys.collect();
        let at = objects.iter().position(|(name, _)| name == flag).unwrap_or_else(|| {
            objects.push((flag.to_owned(), Map::new()));
            objects.len() - 1
        });
        let nested = keys[1..]
            .iter()
            .rfold(value, |inner, key| Json::Object(Map::from_iter([((*key).to_owned(), inner)])));
        merge(&mut objects[at].1, keys[0], nested, flag, &mut duplicates);
    }
    if !duplicates.is_empty() {
        warnings.push(format!("Found duplicate keys {}", duplicates.join(", ")));
    }
    for (flag, object) in objects {
        out.extend([flag, Json::Object(object).to_string()]);
    }
    Ok(out)
}

fn note_duplicate(name: String, seen: &mut Vec<String>, duplicates: &mut Vec<String>) {
    if !seen.contains(&name) {
        seen.push(name);
    } else if !duplicates.contains(&name) {
        duplicates.push(name);
    }
}

/// JSON, else a human-readable integer, else the text itself.
fn dotted_value(text: &str) -> Json {
    serde_json::from_str(text)
        .ok()
        .or_else(|| python::human_int(text).ok().map(Json::from))
        .unwrap_or_else(|| Json::from(text))
}

fn merge(
    object: &mut Map<String, Json>,
    key: &str,
    value: Json,
    path: &str,
    duplicates: &mut Vec<String>,
) {
    let path = format!("{path}.{key}");
    match (object.get_mut(key), value) {
        (Some(Json::Object(old)), Json::Object(new)) => {
            for (key, value) in new {
                merge(old, &key, value, &path, duplicates);
            }
        }
        (Some(Json::Array(old)), Json::Array(new)) => old.extend(new),
        (Some(old), value) => {
            *old = value;
            if !duplicates.contains(&path) {
                duplicates.push(path);
            }
        }
        (None, value) => {
            object.insert(key.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests;
