//! The checks of values that hold no others.

use super::super::json::{Json, str_repr};
use super::check::{Exactness, Fit};
use super::coerce::{self, NoBool, NoFloat, NoInt};
use super::errors::{Errors, Path};

pub(super) fn expect(
    fits: bool,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
    kind: &'static str,
    what: &str,
) -> Option<Fit> {
    if fits {
        return Some(Fit::EXACT);
    }
    errors.push(path, value, kind, &format!("Input should be a valid {what}"));
    None
}

pub(super) fn check_sized(
    min: usize,
    max: usize,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    let len = value.as_str().map_or(0, |text| text.chars().count());
    let fit = expect(value.as_str().is_some(), value, path, errors, "string_type", "string")?;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (kind, message, context) = if len < min {
        let message = format!("String should have at least {min} character{}", plural(min));
        ("string_too_short", message, format!("'min_length': {min}"))
    } else if len > max {
        let message = format!("String should have at most {max} character{}", plural(max));
        ("string_too_long", message, format!("'max_length': {max}"))
    } else {
        return Some(fit);
    };
    errors.push_with(path, value, kind, &message, Some(context));
    None
}

pub(super) fn check_int(
    ge: Option<i64>,
    le: Option<i64>,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    let (kind, message) = match coerce::int(value) {
        Ok(int) => {
            let exact = matches!(value, Json::Int(_));
            let bound = |name, bound: i64| Some(format!("'{name}': {bound}"));
            if let Some(le) = le.filter(|le| int > *le) {
                let message = format!("Input should be less than or equal to {le}");
                errors.push_with(path, value, "less_than_equal", &message, bound("le", le));
                return None;
            }
            if let Some(ge) = ge.filter(|ge| int < *ge) {
                let message = format!("Input should be greater than or equal to {ge}");
                errors.push_with(path, value, "greater_than_equal", &message, bound("ge", ge));
                return None;
            }
            return Some(if exact { Fit::EXACT } else { Fit::of(Exactness::Lax) });
        }
        Err(NoInt::Type) => ("int_type", "Input should be a valid integer"),
        Err(NoInt::Parsing) => {
            ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
        }
        Err(NoInt::TooLarge) => (
            "int_parsing_size",
            "Unable to parse input string as an integer, exceeded maximum size",
        ),
        Err(NoInt::Fraction) => (
            "int_from_float",
            "Input should be a valid integer, got a number with a fractional part",
        ),
        Err(NoInt::NotFinite) => ("finite_number", "Input should be a finite number"),
    };
    errors.push(path, value, kind, message);
    None
}

pub(super) fn check_float(value: &Json, path: &Path<'_>, errors: &mut Errors) -> Option<Fit> {
    let (kind, message) = match coerce::float(value) {
        Ok(_) => {
            return Some(Fit::of(match value {
                Json::Float(_) => Exactness::Exact,
                Json::Int(_) => Exactness::Strict,
                _ => Exactness::Lax,
            }));
        }
        Err(NoFloat::Type) => ("float_type", "Input should be a valid number"),
        Err(NoFloat::Parsing) => {
            ("float_parsing", "Input should be a valid number, unable to parse string as a number")
        }
    };
    errors.push(path, value, kind, message);
    None
}

pub(super) fn check_bool(value: &Json, path: &Path<'_>, errors: &mut Errors) -> Option<Fit> {
    let (kind, message) = match coerce::bool(value) {
        Ok(_) if matches!(value, Json::Bool(_)) => return Some(Fit::EXACT),
        Ok(_) => return Some(Fit::of(Exactness::Lax)),
        Err(NoBool::Type) => ("bool_type", "Input should be a valid boolean"),
        Err(NoBool::Parsing) => {
            ("bool_parsing", "Input should be a valid boolean, unable to interpret input")
        }
    };
    errors.push(path, value, kind, message);
    None
}

pub(super) fn check_literal(
    words: &[&str],
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    if value.as_str().is_some_and(|text| words.contains(&text)) {
        return Some(Fit::EXACT);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let expected = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    };
    let context = format!("'expected': {}", str_repr(&expected));
    let message = format!("Input should be {expected}");
    errors.push_with(path, value, "literal_error", &message, Some(context));
    None
}

pub(super) fn check_enum(
    values: &[i64],
    expected: &str,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    let number = match value {
        Json::Str(_) => None,
        other => coerce::int(other).ok().and_then(|int| int.as_i64()),
    };
    if number.is_some_and(|number| values.contains(&number)) {
        return Some(Fit::of(Exactness::Lax));
    }
    let (message, context) =
        (format!("Input should be {expected}"), format!("'expected': '{expected}'"));
    errors.push_with(path, value, "enum", &message, Some(context));
    None
}

pub(super) fn check_exactly(
    wanted: bool,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    // To Python, 1 and 1.0 are `True`.
    let number = i64::from(wanted);
    let fits = match value {
        Json::Bool(is) => *is == wanted,
        Json::Int(int) => int.as_i64() == Some(number),
        Json::Float(float) => *float == number as f64,
        _ => false,
    };
    if fits {
        return Some(Fit::EXACT);
    }
    let expected = if wanted { "True" } else { "False" };
    let (message, context) =
        (format!("Input should be {expected}"), format!("'expected': '{expected}'"));
    errors.push_with(path, value, "literal_error", &message, Some(context));
    None
}
