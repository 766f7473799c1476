//! pydantic's lax conversions between JSON types.

use super::super::json::{Int, Json};

/// Why a value is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInt {
    Type,
    Parsing,
    TooLarge,
    Fraction,
    NotFinite,
}

/// Longer strings are not parsed as integers.
const MAX_INT_CHARS: usize = 4300;

/// The integer that `value` stands for.
pub fn int(value: &Json) -> Result<Int, NoInt> {
    match value {
        Json::Int(value) => Ok(value.clone()),
        Json::Bool(value) => Ok(Int::Small(i64::from(*value))),
        Json::Float(value) => int_from_float(*value),
        Json::Str(text) => int_from_str(text.trim()),
        _ => Err(NoInt::Type),
    }
}

fn int_from_float(value: f64) -> Result<Int, NoInt> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if !value.is_finite() {
        Err(NoInt::NotFinite)
    } else if value.fract() != 0.0 {
        Err(NoInt::Fraction)
    } else if (-BOUND..BOUND).contains(&value) {
        Ok(Int::Small(value as i64))
    } else {
        Err(NoInt::TooLarge)
    }
}

/// `[+-]?digits(.0*)?`, with single underscores between digits.
fn int_from_str(text: &str) -> Result<Int, NoInt> {
    if text.len() > MAX_INT_CHARS {
        return Err(NoInt::TooLarge);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = match rest.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return Err(NoInt::Parsing),
        None => rest,
    };
    let digits = join_digits(whole).ok_or(NoInt::Parsing)?;
    Ok(Int::from_digits(&format!("{sign}{digits}")))
}

/// Digits without their underscores, each of which must stand between two digits.
fn join_digits(text: &str) -> Option<String> {
    let groups = text.split('_');
    let plain = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    groups.clone().all(plain).then(|| groups.collect())
}

/// Why a value is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFloat {
    Type,
    Parsing,
}

/// The number that `value` stands for; NaN and infinities are numbers.
pub fn float(value: &Json) -> Result<f64, NoFloat> {
    match value {
        Json::Float(value) => Ok(*value),
        Json::Int(value) => value.as_f64().ok_or(NoFloat::Type),
        Json::Bool(value) => Ok(f64::from(u8::from(*value))),
        Json::Str(text) => float_from_str(text.trim()).ok_or(NoFloat::Parsing),
        _ => Err(NoFloat::Type),
    }
}

fn float_from_str(text: &str) -> Option<f64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let bytes = text.as_bytes();
    let between_digits = |at: usize| {
        at > 0
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    let underscores = || (0..bytes.len()).filter(|at| bytes[*at] == b'_');
    (underscores().next().is_some() && underscores().all(between_digits))
        .then(|| text.replace('_', "").parse().ok())?
}

/// Why a value is no boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBool {
    Type,
    Parsing,
}

/// The truth value that `value` stands for.
pub fn bool(value: &Json) -> Result<bool, NoBool> {
    let from_int = |value: i64| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(NoBool::Parsing),
    };
    match value {
        Json::Bool(value) => Ok(*value),
        Json::Int(value) => value.as_i64().map_or(Err(NoBool::Type), from_int),
        Json::Float(value) => match int_from_float(*value) {
            Ok(value) => from_int(value.saturate()),
            Err(_) => Err(NoBool::Type),
        },
        Json::Str(text) => {
            let one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            if one_of(&["0", "off", "f", "false", "n", "no"]) {
                Ok(false)
            } else if one_of(&["1", "on", "t", "true", "y", "yes"]) {
                Ok(true)
            } else {
                Err(NoBool::Parsing)
            }
        }
        _ => Err(NoBool::Type),
    }
}
