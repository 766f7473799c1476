//! Models by hub id: a Hugging Face cache on disk, filled from the hub.
//!
//! The cache has the layout of `huggingface_hub`, so that what Python tools fetched is found and
//! the other way round. hf-hub knows the layout and speaks to the hub; here is what it leaves open:
//! one commit for all files, offline use, resuming and checking downloads, errors in one line.

mod download;
mod options;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::ModelError;
use super::checkpoint::shards_of_index;
use super::files::{INDEX, SMALL_FILES};

pub use options::HubOptions;

/// The longest that the hub may take to say what a repository holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the hub did not give a model.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{0} is neither a model folder nor a hub id (owner/name)")]
    NoSuchModel(String),
    #[error(
        "{repo} is not on {endpoint}, or is private: check the name, and set HF_TOKEN or \
         --hf-token if it needs one"
    )]
    NotFound { repo: String, endpoint: String },
    #[error("{repo} on {endpoint} has no revision {revision}")]
    NoRevision { repo: String, endpoint: String, revision: String },
    #[error(
        "{repo} on {endpoint} is gated: accept its terms there, and set HF_TOKEN or --hf-token"
    )]
    Gated { repo: String, endpoint: String },
    #[error("{endpoint} cannot be reached ({reason}), and {repo} is not in {cache}")]
    Unreachable { repo: String, endpoint: String, reason: String, cache: String },
    #[error("HF_HUB_OFFLINE is set, and {repo} at revision {revision} is not in {cache}")]
    Offline { repo: String, revision: String, cache: String },
    #[error("{repo} on {endpoint}: {reason}")]
    Failed { repo: String, endpoint: String, reason: String },
}

/// What of a model is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that serving it takes.
    Model,
    /// Everything but the weights.
    WithoutWeights,
}

/// The folder that holds `model`: a local folder, or the snapshot of a hub id, fetched first where
/// the cache lacks it.
///
/// # Errors
/// One line that says what is missing and what to set; see [`HubError`].
pub fn resolve(
    model: &str,
    revision: Option<&str>,
    wanted: Wanted,
    options: &HubOptions,
) -> Result<PathBuf, ModelError> {
    let folder = Path::new(model);
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    if !is_hub_id(model) {
        return Err(HubError::NoSuchModel(model.to_owned()).into());
    }
    let revision = revision.unwrap_or("main").to_owned();
    let hub =
        Hub { options, cache: Cache::new(options.cache.clone()), repo: model.to_owned(), revision };
    Ok(hub.snapshot(wanted)?)
}

/// Whether `name` can be a repository: one or two parts of letters, digits, `-`, `_` and `.`, none
/// beginning or ending with `-` or `.`, as the hub demands.
fn is_hub_id(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty()
            && part.len() <= 96
            && part.chars().all(plain)
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("..")
            && !part.contains("--")
    };
    name.split('/').count() <= 2 && name.split('/').all(part)
}

/// One repository at one revision.
struct Hub<'a> {
    options: &'a HubOptions,
    cache: Cache,
    repo: String,
    revision: String,
}

/// What the hub answered when asked for the repository.
enum Answer {
    Info(RepoInfo),
    /// It cannot be reached, or is broken; what is in the cache will do.
    Down(String),
}

impl Hub<'_> {
    fn snapshot(&self, wanted: Wanted) -> Result<PathBuf, HubError> {
        if self.options.offline {
            return self.cached(wanted).ok_or_else(|| HubError::Offline {
                repo: self.repo.clone(),
                revision: self.revision.clone(),
                cache: self.options.cache.display().to_string(),
            });
        }
        let api = self.api()?;
        let repo = api.repo(self.repo_at(&self.revision));
        let info = match self.ask(&repo)? {
            Answer::Info(info) => info,
            Answer::Down(reason) => {
                let Some(folder) = self.cached(wanted) else {
                    return Err(HubError::Unreachable {
                        repo: self.repo.clone(),
                        endpoint: self.options.endpoint.clone(),
                        reason,
                        cache: self.options.cache.display().to_string(),
                    });
                };
                let (endpoint, repo) = (&self.options.endpoint, &self.repo);
                (self.options.say)(&format!(
                    "{endpoint} cannot be reached ({reason}); {repo} comes from the cache"
                ));
                return Ok(folder);
            }
        };
        let folder = self.fetch(&api, &info, wanted)?;
        self.cache
            .repo(self.repo_at(&self.revision))
            .create_ref(&info.sha)
            .map_err(|error| self.failed(format!("cannot write to the cache: {error}")))?;
        Ok(folder)
    }

    fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision.to_owned())
    }

    fn failed(&self, reason: impl ToString) -> HubError {
        HubError::Failed {
            repo: self.repo.clone(),
            endpoint: self.options.endpoint.clone(),
            reason: super::error::one_line(&reason.to_string()),
        }
    }

    fn api(&self) -> Result<Api, HubError> {
        ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.options.endpoint.clone())
            .with_token(self.options.token.clone())
            .with_user_agent("glassbox", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| self.failed(error))
    }

    /// Asks which commit the revision is and which files it has.
    fn ask(&self, repo: &ApiRepo) -> Result<Answer, HubError> {
        let request = repo.info_request().config();
        let request = request.http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Answer::Down(error.to_string())),
        };
        let code = response
            .headers()
            .get("x-error-code")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let (name, endpoint) = (self.repo.clone(), self.options.endpoint.clone());
        match (response.status().as_u16(), code.as_str()) {
            (200..=299, _) => match response.body_mut().read_json::<RepoInfo>() {
                Ok(info) if is_commit(&info.sha) => Ok(Answer::Info(info)),
                Ok(info) => Err(self.failed(format!("names the commit {:?}", info.sha))),
                Err(error) => Err(self.failed(format!("does not describe the model: {error}"))),
            },
            (_, "RevisionNotFound") => {
                let revision = self.revision.clone();
                Err(HubError::NoRevision { repo: name, endpoint, revision })
            }
            (_, "GatedRepo") | (403, _) => Err(HubError::Gated { repo: name, endpoint }),
            (401 | 404, _) => Err(HubError::NotFound { repo: name, endpoint }),
            (status @ (429 | 500..), _) => Ok(Answer::Down(format!("HTTP status {status}"))),
            (status, _) => Err(self.failed(format!("HTTP status {status}"))),
        }
    }

    /// The snapshot in the cache, where it has what is wanted.
    fn cached(&self, wanted: Wanted) -> Option<PathBuf> {
        let repo = self.cache.repo(self.repo_at(&self.revision));
        let reference =
            self.options.cache.join(self.repo_at(&self.revision).folder_name()).join("refs");
        // A revision may be a branch or tag, of which the cache notes the commit, or a commit.
        let commit = std::fs::read_to_string(reference.join(&self.revision))
            .map_or_else(|_| self.revision.clone(), |text| text.trim().to_owned());
        let folder = repo.pointer_path(&commit);
        if !is_commit(&commit) || !folder.join("config.json").is_file() {
            return None;
        }
        let complete = wanted == Wanted::WithoutWeights
            || super::ModelFiles::in_folder(&folder).is_ok_and(|files| {
                !files.weights.is_empty() && files.weights.iter().all(|path| path.is_file())
            });
        complete.then_some(folder)
    }

    /// Brings every wanted file of the commit into the cache; the folder that holds them.
    fn fetch(&self, api: &Api, info: &RepoInfo, wanted: Wanted) -> Result<PathBuf, HubError> {
        let there = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
        // All files come from one commit, even when the branch moves on meanwhile.
        let download = download::Download {
            hub: self,
            api,
            repo: api.repo(self.repo_at(&info.sha)),
            cache: self.cache.repo(self.repo_at(&info.sha)),
            commit: &info.sha,
        };
        for name in SMALL_FILES.iter().filter(|name| there(name)) {
            if wanted == Wanted::Model || *name != INDEX {
                download.file(name)?;
            }
        }
        let folder = self.cache.repo(self.repo_at(&info.sha)).pointer_path(&info.sha);
        if wanted == Wanted::Model {
            let mut weights: Vec<String> = if there(INDEX) {
                let shards =
                    shards_of_index(&folder.join(INDEX)).map_err(|error| self.failed(error))?;
                let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
                shards.into_iter().filter_map(name).collect()
            } else {
                let names = info.siblings.iter().map(|file| file.rfilename.clone());
                names.filter(|name| name.ends_with(".safetensors") && !name.contains('/')).collect()
            };
            weights.sort_unstable();
            if weights.is_empty() {
                return Err(self.failed("the model has no safetensors weights"));
            }
            weights.iter().try_for_each(|name| download.file(name))?;
        }
        Ok(folder)
    }
}

/// Commits become folder names: nothing but the digits of a hash may pass.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::is_hub_id;

    #[test]
    fn hub_ids() {
        for good in ["Qwen/Qwen3-0.6B", "gpt2", "a_b/c.d-e"] {
            assert!(is_hub_id(good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a b", "a/-b", "a--b", "ä", "./m"]
        {
            assert!(!is_hub_id(bad), "{bad}");
        }
    }
}
