//! The walk over a schema and a value.

use super::super::json::Json;
use super::errors::{Errors, Path};
use super::openai::{check_float_in, check_sequence};
use super::scalars::{
    check_bool, check_enum, check_exactly, check_float, check_int, check_literal, check_sized,
    expect,
};
use super::tagged::check_tagged;
use super::{Field, ObjectKind, Schema};
use crate::error::ApiError;

/// How exactly a value fits, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exactness {
    Lax,
    Strict,
    Exact,
}

/// How well a value fits; a union takes the choice that fits best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    exactness: Exactness,
    /// Members that were present, over all objects on the way. `None` without any object.
    fields: Option<usize>,
}

impl Fit {
    pub(super) const EXACT: Self = Self { exactness: Exactness::Exact, fields: None };

    pub(super) fn of(exactness: Exactness) -> Self {
        Self { exactness, fields: None }
    }

    fn add(&mut self, part: Self) {
        self.exactness = self.exactness.min(part.exactness);
        if let Some(fields) = part.fields {
            *self.fields.get_or_insert(0) += fields;
        }
    }

    /// Whether this is the better fit of the two.
    pub fn is_better_than(self, other: Self) -> bool {
        match (self.fields, other.fields) {
            (Some(new), Some(old)) if new != old => new > old,
            _ => self.exactness > other.exactness,
        }
    }
}

/// Checks `value` and turns misfits into the error of a bad request body.
pub fn validate(schema: &Schema, value: &Json) -> Result<(), ApiError> {
    let mut errors = Errors::default();
    match check(schema, value, &Path::root("body"), &mut errors)? {
        Some(_) => Ok(()),
        None => Err(errors.into_api_error()),
    }
}

/// Checks `value`; `None` when it does not fit, with the reasons added to `errors`.
///
/// # Errors
/// What a [`Schema::Hook`] or a dataclass raised; that ends the check at once.
pub fn check(
    schema: &Schema,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let fit = match schema {
        Schema::Any => Some(Fit::EXACT),
        Schema::Str => {
            expect(matches!(value, Json::Str(_)), value, path, errors, "string_type", "string")
        }
        Schema::Sized { min, max } => check_sized(*min, *max, value, path, errors),
        Schema::Bytes => {
            expect(matches!(value, Json::Str(_)), value, path, errors, "bytes_type", "bytes")
        }
        Schema::Int { ge, le } => check_int(*ge, *le, value, path, errors),
        Schema::Float => check_float(value, path, errors),
        Schema::FloatIn { ge, le } => check_float_in(*ge, *le, value, path, errors),
        Schema::Bool => check_bool(value, path, errors),
        Schema::Literal(words) => check_literal(words, value, path, errors),
        Schema::List { item, max } => check_list(item, max.map(|max| max()), value, path, errors)?,
        Schema::NonEmpty(inner) => check_non_empty(inner, value, path, errors)?,
        Schema::Valid(inner, validator) => {
            let fit = check(inner, value, path, errors)?;
            let wrong = fit.and_then(|_| validator(value));
            wrong.iter().for_each(|message| errors.push_value_error(path, value, message));
            fit.filter(|_| wrong.is_none())
        }
        Schema::Sequence(item) => check_sequence(item, value, path, errors)?,
        Schema::Iterable => check_iterable(value, path, errors),
        Schema::Map(item) => check_map(item, false, value, path, errors)?,
        Schema::IntMap(item) => check_map(item, true, value, path, errors)?,
        Schema::Exactly(wanted) => check_exactly(*wanted, value, path, errors),
        Schema::Enum { values, expected } => check_enum(values, expected, value, path, errors),
        Schema::Nullable(_) if value.is_null() => Some(Fit::EXACT),
        Schema::Nullable(inner) => return check(inner, value, path, errors),
        Schema::Union(choices) => return check_union(choices, value, path, errors),
        Schema::Tagged(choices) => check_tagged(choices, value, path, errors)?,
        Schema::Object { kind, fields } => check_object(kind, fields, value, path, errors)?,
        Schema::InstanceOf(class) => {
            let message = format!("Input should be an instance of {class}");
            let context = Some(format!("'class': '{class}'"));
            errors.push_with(path, value, "is_instance_of", &message, context);
            None
        }
        Schema::Hooked(hook, inner) => {
            value.as_dict().map_or(Ok(()), hook)?;
            return check(inner, value, path, errors);
        }
        Schema::Hook(hook) => hook(value).map(|()| Some(Fit::EXACT))?,
    };
    Ok(fit)
}

pub(super) fn check_list(
    item: &Schema,
    max: Option<usize>,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let Json::List(items) = value else {
        return Ok(expect(false, value, path, errors, "list_type", "list"));
    };
    if let Some(max) = max.filter(|max| items.len() > *max) {
        let len = items.len();
        let message = format!("List should have at most {max} items after validation, not {len}");
        let context = format!("'field_type': 'List', 'max_length': {max}, 'actual_length': {len}");
        errors.push_with(path, value, "too_long", &message, Some(context));
        return Ok(None);
    }
    let mut total = Some(Fit::EXACT);
    for (index, element) in items.iter().enumerate() {
        let fit = check(item, element, &path.index(index), errors)?;
        total = both(total, fit);
    }
    Ok(total)
}

fn check_iterable(value: &Json, path: &Path<'_>, errors: &mut Errors) -> Option<Fit> {
    if matches!(value, Json::List(_) | Json::Dict(_) | Json::Str(_)) {
        return Some(Fit::EXACT);
    }
    errors.push(path, value, "iterable_type", "Input should be iterable");
    None
}

fn check_map(
    item: &Schema,
    has_int_keys: bool,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let Json::Dict(entries) = value else {
        return Ok(expect(false, value, path, errors, "dict_type", "dictionary"));
    };
    let mut total = Some(Fit::EXACT);
    for (key, element) in entries {
        let path = path.key(key);
        if has_int_keys {
            let fit = check_int(None, None, &Json::Str(key.clone()), &path, errors);
            total = both(total, fit);
        }
        let fit = check(item, element, &path, errors)?;
        total = both(total, fit);
    }
    Ok(total)
}

fn check_non_empty(
    inner: &Schema,
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    if value.as_list().is_some_and(<[_]>::is_empty) {
        let message = "List should have at least 1 item after validation, not 0";
        let context = "'field_type': 'List', 'min_length': 1, 'actual_length': 0";
        errors.push_with(path, value, "too_short", message, Some(context.to_owned()));
        return Ok(None);
    }
    check(inner, value, path, errors)
}

fn both(total: Option<Fit>, part: Option<Fit>) -> Option<Fit> {
    let mut total = total?;
    total.add(part?);
    Some(total)
}

fn check_union(
    choices: &[(&str, &Schema)],
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let mut misfits = Errors::default();
    let best = best_of(choices, value, path, &mut misfits)?;
    if best.is_none() {
        errors.extend(misfits);
    }
    Ok(best.map(|(_, fit)| fit))
}

/// The choice of a union that `value` fits best, by its place.
pub fn best_choice(
    choices: &[(&str, &Schema)],
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<usize>, ApiError> {
    Ok(best_of(choices, value, path, errors)?.map(|(index, _)| index))
}

fn best_of(
    choices: &[(&str, &Schema)],
    value: &Json,
    path: &Path<'_>,
    misfits: &mut Errors,
) -> Result<Option<(usize, Fit)>, ApiError> {
    let mut best: Option<(usize, Fit)> = None;
    for (index, (label, schema)) in choices.iter().enumerate() {
        let labelled = path.key(label);
        let path = if label.is_empty() { path } else { &labelled };
        let Some(fit) = check(schema, value, path, misfits)? else { continue };
        if fit == Fit::EXACT {
            return Ok(Some((index, fit)));
        }
        if best.is_none_or(|(_, old)| fit.is_better_than(old)) {
            best = Some((index, fit));
        }
    }
    Ok(best)
}

fn check_object(
    kind: &ObjectKind,
    fields: &[Field],
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let Json::Dict(entries) = value else {
        refuse_object(kind, value, path, errors);
        return Ok(None);
    };
    let mut total = Some(Fit { exactness: Exactness::Exact, fields: Some(0) });
    let mut present = 0;
    for field in fields {
        let path = path.key(field.name);
        match entries.get(field.name) {
            Some(member) => {
                present += 1;
                let fit = check(field.schema, member, &path, errors)?;
                total = both(total, fit);
            }
            None if field.required => {
                errors.push(&path, value, "missing", "Field required");
                total = None;
            }
            None => {}
        }
    }
    if let ObjectKind::Closed = kind {
        for (name, member) in entries {
            if fields.iter().all(|field| field.name != name) {
                let path = path.key(name);
                errors.push(&path, member, "extra_forbidden", "Extra inputs are not permitted");
                total = None;
            }
        }
    }
    if let (ObjectKind::Dataclass(_, hook), Some(_)) = (kind, &total) {
        hook(entries)?;
    }
    let own = Fit { exactness: Exactness::Exact, fields: Some(present) };
    Ok(both(total, Some(own)))
}

pub(super) fn refuse_object(kind: &ObjectKind, value: &Json, path: &Path<'_>, errors: &mut Errors) {
    match kind {
        ObjectKind::Model | ObjectKind::Closed => errors.push(
            path,
            value,
            "model_attributes_type",
            "Input should be a valid dictionary or object to extract fields from",
        ),
        ObjectKind::TypedDict => {
            errors.push(path, value, "dict_type", "Input should be a valid dictionary");
        }
        ObjectKind::Dataclass(name, _) => {
            let message = format!("Input should be a dictionary or an instance of {name}");
            let context = Some(format!("'class_name': '{name}'"));
            errors.push_with(path, value, "dataclass_type", &message, context);
        }
    }
}
