//! `--chat-template`: a file, or the template itself.

/// The text of the template that `value` names or is.
pub(super) fn load(value: &str) -> Result<String, String> {
    match std::fs::read_to_string(value) {
        Ok(text) => Ok(text),
        Err(_) if value.contains(['{', '}', '\n']) => Ok(value.to_owned()),
        Err(error) => Err(format!(
            "argument --chat-template: {value} looks like a file path, but it cannot be read: \
             {error}"
        )),
    }
}
