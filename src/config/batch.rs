//! What `run-batch` is told.

use super::env::Env;
use super::grammar::Raw;
use super::resolve;
use super::settings::Settings;
use std::path::PathBuf;

/// The settings of `run-batch`.
#[derive(Clone, Debug)]
pub struct RunBatchSettings {
    /// Of the model and the engine.
    pub engine: Settings,
    pub input: PathBuf,
    pub output: PathBuf,
}

pub(super) fn read(raw: &Raw, env: Env, warnings: Vec<String>) -> Result<RunBatchSettings, String> {
    Ok(RunBatchSettings {
        engine: resolve::resolve(raw, env, warnings)?,
        input: local(raw, "--input-file")?,
        output: local(raw, "--output-file")?,
    })
}

/// A file of this machine: nothing is fetched from elsewhere or sent there.
fn local(raw: &Raw, name: &str) -> Result<PathBuf, String> {
    let path = raw.text(name).ok_or_else(|| format!("argument {name}: a file is needed"))?;
    match ["http://", "https://"].iter().any(|scheme| path.starts_with(scheme)) {
        true => Err(format!("argument {name}: {path} is not supported: give a file")),
        false => Ok(PathBuf::from(path)),
    }
}
