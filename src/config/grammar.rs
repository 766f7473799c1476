//! argparse's grammar over the flag table.
//!
//! Differences on purpose: what follows `--` is positional without Python's special cases, and
//! integers end at 64 bits.

use super::exit::Failure;
use super::python;
use super::table::{Command, Flag, Kind, SERVE};
use super::value::{self, Value};

/// Flags as they were given: read, but not checked against each other.
#[derive(Debug)]
pub(super) struct Raw {
    command: &'static Command,
    /// What stands alone: the model of `serve`.
    pub model: Option<String>,
    given: Vec<(&'static Flag, Value)>,
    pub help: bool,
    /// Which flags were asked for: a test compares this with the table.
    #[cfg(test)]
    pub asked: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

impl Raw {
    fn new(command: &'static Command) -> Self {
        Self {
            command,
            model: None,
            given: Vec::new(),
            help: false,
            #[cfg(test)]
            asked: std::cell::RefCell::default(),
        }
    }

    /// The flag's value: the last one given, or its default. Flags of `serve` that this
    /// subcommand has not are at their defaults; those of others are null.
    pub fn get(&self, name: &str) -> Value {
        let flag = self.command.flag(name).or_else(|| SERVE.flag(name));
        #[cfg(test)]
        self.asked.borrow_mut().insert(name.to_owned());
        let default = || flag.map_or(Value::Null, |flag| Value::of_default(flag.default));
        self.given(name).cloned().unwrap_or_else(default)
    }

    /// A text, or an item of one; null is `None`.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number of any size that the grammar reads.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A switch or toggle; false when it is neither given nor on by default.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Value::Bool(true)
    }

    /// The flag's value, unless it was not given.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.given.iter().find(|(flag, _)| flag.name == name).map(|(_, value)| value)
    }

    /// Every flag that was given, in the order of the table.
    pub fn all_given(&self) -> impl Iterator<Item = (&'static Flag, &Value)> {
        self.command.flags().filter_map(|flag| self.given(flag.name).map(|value| (flag, value)))
    }

    fn set(&mut self, flag: &'static Flag, value: Value) {
        match self.given.iter_mut().find(|(other, _)| other.name == flag.name) {
            None => self.given.push((flag, value)),
            Some((_, Value::Texts(old))) if flag.kind == Kind::Append => {
                if let Value::Texts(new) = value {
                    old.extend(new);
                }
            }
            Some((_, old)) => *old = value,
        }
    }
}

/// What a spelling on the command line stands for.
#[derive(Clone, Copy)]
enum Target {
    Help,
    Set(&'static Flag),
    Negate(&'static Flag),
}

/// What argparse takes an argument for.
enum Class {
    Positional,
    /// `--`.
    Separator,
    Flag(Target, Option<String>),
    Unknown,
}

/// Reads the arguments of a subcommand, rewritten.
pub(super) fn parse(command: &'static Command, args: &[String]) -> Result<Raw, Failure> {
    let spellings = spellings(command);
    let mut classes = Vec::with_capacity(args.len());
    let mut separated = false;
    for arg in args {
        let class = if separated { Class::Positional } else { classify(arg, &spellings)? };
        separated |= matches!(class, Class::Separator);
        classes.push(class);
    }
    let mut raw = Raw::new(command);
    let mut extras = Vec::new();
    let mut at = 0;
    while at < args.len() {
        let arg = &args[at];
        let class = &classes[at];
        at += 1;
        match class {
            Class::Separator => {}
            Class::Positional if command.positional.is_some() && raw.model.is_none() => {
                raw.model = Some(arg.clone())
            }
            Class::Positional | Class::Unknown => extras.push(arg.clone()),
            Class::Flag(Target::Help, explicit) => {
                no_value("-h/--help", explicit)?;
                raw.help = true;
                return Ok(raw);
            }
            Class::Flag(Target::Negate(flag), explicit) => {
                no_value(&flag.title(), explicit)?;
                raw.set(flag, Value::Bool(false));
            }
            Class::Flag(Target::Set(flag), explicit) => {
                let following = args[at..].iter().zip(&classes[at..]);
                let following =
                    following.take_while(|(_, class)| matches!(class, Class::Positional));
                let free: Vec<&str> = following.map(|(arg, _)| arg.as_str()).collect();
                let (value, taken) = take(flag, explicit.as_deref(), &free)?;
                at += taken;
                raw.set(flag, value);
            }
        }
    }
    let missing = |title: &&&str| {
        let name = title.rsplit('/').next().unwrap_or_default();
        raw.given(name).is_none()
    };
    let missing: Vec<&str> = command.required.iter().filter(missing).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Failure::usage(format!("the following arguments are required: {missing}")));
    }
    if extras.is_empty() { Ok(raw) } else { Err(Failure::Unrecognized(extras)) }
}

fn spellings(command: &'static Command) -> Vec<(String, Target)> {
    let mut all = vec![("-h".to_owned(), Target::Help), ("--help".to_owned(), Target::Help)];
    for flag in command.flags() {
        let negation = flag.negation();
        all.extend(flag.spellings().into_iter().map(|spelling| {
            let negated = Some(&spelling) == negation.as_ref();
            (spelling, if negated { Target::Negate(flag) } else { Target::Set(flag) })
        }));
    }
    all
}

fn classify(arg: &str, spellings: &[(String, Target)]) -> Result<Class, Failure> {
    if arg == "--" {
        return Ok(Class::Separator);
    }
    if !arg.starts_with('-') || arg.len() == 1 {
        return Ok(Class::Positional);
    }
    let exact = |name: &str| spellings.iter().find(|(spelling, _)| spelling == name);
    if let Some((_, target)) = exact(arg) {
        return Ok(Class::Flag(*target, None));
    }
    let (name, explicit) = match arg.split_once('=') {
        Some((name, explicit)) => (name, Some(explicit.to_owned())),
        None => (arg, None),
    };
    if let (Some((_, target)), Some(_)) = (exact(name), &explicit) {
        return Ok(Class::Flag(*target, explicit));
    }
    let mut matches = abbreviated(arg, name, &explicit, spellings);
    match matches.len() {
        1 => {
            let (_, target, explicit) = matches.remove(0);
            Ok(Class::Flag(target, explicit))
        }
        0 if is_negative_number(arg) || arg.contains(' ') => Ok(Class::Positional),
        0 => Ok(Class::Unknown),
        _ => {
            let names: Vec<&str> = matches.iter().map(|(name, ..)| *name).collect();
            let names = names.join(", ");
            Err(Failure::usage(format!("ambiguous option: {arg} could match {names}")))
        }
    }
}

type Match<'a> = (&'a str, Target, Option<String>);

/// All flags that `arg` may be short for: a prefix of a name, or `-nVALUE` for a flag `-n`.
fn abbreviated<'a>(
    arg: &str,
    name: &str,
    explicit: &Option<String>,
    spellings: &'a [(String, Target)],
) -> Vec<Match<'a>> {
    let long = arg.starts_with("--");
    let letter_end = arg.char_indices().nth(2).map_or(arg.len(), |(at, _)| at);
    let (letter, attached) = arg.split_at(letter_end);
    let of = |(spelling, target): &'a (String, Target)| {
        if long {
            spelling.starts_with(name).then(|| (spelling.as_str(), *target, explicit.clone()))
        } else if spelling == letter {
            Some((spelling.as_str(), *target, Some(attached.to_owned())))
        } else {
            spelling.starts_with(arg).then_some((spelling.as_str(), *target, None))
        }
    };
    spellings.iter().filter_map(of).collect()
}

/// `-1`, `-.5`, `-1.5`: values, since no flag looks like one.
fn is_negative_number(arg: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let body = &arg[1..];
    match body.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !part.is_empty(),
        None => digits(body) && !body.is_empty(),
    }
}

fn no_value(title: &str, explicit: &Option<String>) -> Result<(), Failure> {
    match explicit {
        None => Ok(()),
        Some(value) => Err(Failure::usage(format!(
            "argument {title}: ignored explicit argument {}",
            python::repr(value)
        ))),
    }
}

/// The value of `flag`, from `--flag=explicit` or from the arguments behind it, and how many of
/// these it took.
fn take(
    flag: &'static Flag,
    explicit: Option<&str>,
    free: &[&str],
) -> Result<(Value, usize), Failure> {
    let fail = |what: &str| Failure::usage(format!("argument {}: {what}", flag.title()));
    let read = |text: &str| value::read(flag, text).map_err(|error| fail(&error));
    let text_of = |text: &str| {
        Ok(match read(text)? {
            Value::Text(text) => Some(text),
            _ => None,
        })
    };
    match flag.kind {
        Kind::Switch | Kind::Toggle => {
            no_value(&flag.title(), &explicit.map(str::to_owned))?;
            Ok((Value::Bool(true), 0))
        }
        Kind::MaybeText => match (explicit, free.first()) {
            (Some(text), _) => Ok((read(text)?, 0)),
            (None, Some(text)) => Ok((read(text)?, 1)),
            (None, None) => Ok((Value::Bool(true), 0)),
        },
        Kind::Texts | Kind::AnyTexts => {
            let texts = explicit.as_ref().map_or(free, std::slice::from_ref);
            if texts.is_empty() && flag.kind == Kind::Texts {
                return Err(fail("expected at least one argument"));
            }
            let values = texts.iter().map(|text| text_of(text)).collect::<Result<_, _>>()?;
            Ok((Value::Texts(values), if explicit.is_some() { 0 } else { texts.len() }))
        }
        Kind::Ints => {
            let texts = explicit.as_ref().map_or(free, std::slice::from_ref);
            if texts.is_empty() {
                return Err(fail("expected at least one argument"));
            }
            let one = |text: &&str| match read(text)? {
                Value::Json(number) => Ok(number),
                _ => Ok(serde_json::Value::Null),
            };
            let numbers = texts.iter().map(one).collect::<Result<Vec<_>, Failure>>()?;
            let taken = if explicit.is_some() { 0 } else { texts.len() };
            Ok((Value::Json(numbers.into()), taken))
        }
        _ => {
            let (text, taken) = match (explicit, free.first()) {
                (Some(text), _) => (text, 0),
                (None, Some(text)) => (*text, 1),
                (None, None) => return Err(fail("expected one argument")),
            };
            if flag.kind == Kind::Append {
                return Ok((Value::Texts(vec![text_of(text)?]), taken));
            }
            Ok((read(text)?, taken))
        }
    }
}

#[cfg(test)]
mod tests;
