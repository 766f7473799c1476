//! What can be wrong with a model: always one line that names the file and what to do.

use std::path::Path;

use super::{HubError, WeightError};

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is unreadable, or says something that cannot be used.
    #[error("{place}: {reason}")]
    File { place: String, reason: String },
    /// The hub did not give what was asked.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The checkpoint does not hold the weights that the configuration promises.
    #[error(transparent)]
    Weights(#[from] WeightError),
}

impl ModelError {
    /// A [`ModelError::File`]; line ends in the reason become spaces.
    pub(crate) fn file(place: impl AsRef<Path>, reason: impl ToString) -> Self {
        let place = place.as_ref().display().to_string();
        ModelError::File { place, reason: one_line(&reason.to_string()) }
    }
}

/// `text` on one line, so that an error stays one line whatever a library says.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a text file; the error names it.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|error| ModelError::file(path, error))
}

/// Reads a file that holds one JSON object; the error names it, the line and the column.
pub(crate) fn read_object(
    path: &Path,
) -> Result<serde_json::Map<String, serde_json::Value>, ModelError> {
    let text = read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::file(path, format!("not a JSON object: {error}")))
}
