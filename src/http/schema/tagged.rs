//! Objects whose member `type` says what else they hold.

use super::super::json::{Json, str_repr, to_str};
use super::check::{Fit, check, refuse_object};
use super::errors::{Errors, Path};
use super::{ObjectKind, Schema};
use crate::error::ApiError;

/// Checks the choice that `value` names; its name is part of the path.
pub(super) fn check_tagged(
    choices: &[(&str, &Schema)],
    value: &Json,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Result<Option<Fit>, ApiError> {
    let Some(entries) = value.as_dict() else {
        refuse_object(&ObjectKind::Model, value, path, errors);
        return Ok(None);
    };
    let Some(tag) = entries.get("type") else {
        let message = "Unable to extract tag using discriminator 'type'";
        let context = "'discriminator': \"'type'\"".to_owned();
        errors.push_with(path, value, "union_tag_not_found", message, Some(context));
        return Ok(None);
    };
    if let Some((name, schema)) = choices.iter().find(|(name, _)| tag.as_str() == Some(name)) {
        return check(schema, value, &path.key(name), errors);
    }
    let tag = to_str(tag);
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
    let names = names.join(", ");
    let message = format!(
        "Input tag '{tag}' found using 'type' does not match any of the expected tags: {names}"
    );
    let context = format!(
        "'discriminator': \"'type'\", 'tag': {}, 'expected_tags': {}",
        str_repr(&tag),
        str_repr(&names)
    );
    errors.push_with(path, value, "union_tag_invalid", &message, Some(context));
    Ok(None)
}
