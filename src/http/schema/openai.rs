//! What only the types of OpenAI's Responses API ask for.

use super::super::json::{Json, float_repr};
use super::check::{Fit, check, check_list};
use super::errors::{Errors, Path};
use super::scalars::check_float;
use super::{Schema, coerce};
use crate::error::ApiError;

/// Checks a number within bounds.
pub(super) fn check_float_in(
    ge: f64,
    le: f64,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<Fit> {
    let fit = check_float(value, path, errors)?;
    let number = coerce::float(value).unwrap_or(f64::NAN);
    let (kind, name, bound, what) = if number.is_nan() || number < ge {
        ("greater_than_equal", "ge", ge, "greater")
    } else if number > le {
        ("less_than_equal", "le", le, "less")
    } else {
        return Some(fit);
    };
    let message = format!("Input should be {what} than or equal to {bound}");
    let context = format!("'{name}': {}", float_repr(bound));
    errors.push_with(path, value, kind, &message, Some(context));
    None
}

/// A string is a sequence to Python, but not one that pydantic takes.
pub(super) fn check_sequence(
    item: &Schema,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    match value {
        Json::List(_) => check_list(item, None, value, path, errors),
        Json::Str(_) => {
            let message = "'str' instances are not allowed as a Sequence value";
            let context = Some("'type_name': 'str'".to_owned());
            errors.push_with(path, value, "sequence_str", message, context);
            Ok(None)
        }
        _ => check(&Schema::InstanceOf("Sequence"), value, path, errors),
    }
}
