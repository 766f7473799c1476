//! Where the hub and its cache are.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Settings of the hub, with the meaning that Hugging Face's tools give them.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The cache (`HF_HUB_CACHE`, else `HF_HOME/hub`, or `--download-dir`).
    pub cache: PathBuf,
    /// The hub (`HF_ENDPOINT`), without a slash at its end.
    pub endpoint: String,
    /// `--hf-token`, else `HF_TOKEN`, else the token that a login left in `HF_HOME`.
    pub token: Option<String>,
    /// Use the cache alone (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// Show progress bars.
    pub progress: bool,
    /// Takes notices for the operator.
    pub say: fn(&str),
}

impl HubOptions {
    /// The settings of this process's environment; progress bars where stderr is a terminal.
    pub fn from_env() -> Self {
        let options = Self::from_vars(|name| std::env::var(name).ok());
        HubOptions { progress: options.progress && std::io::stderr().is_terminal(), ..options }
    }

    /// The settings that these environment variables make.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_true = |name: &str| {
            let value = variable(name).unwrap_or_default().to_uppercase();
            matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
        };
        let user = PathBuf::from(set("HOME").unwrap_or_else(|| ".".to_owned()));
        let expand = |path: String| match path.strip_prefix("~/") {
            Some(rest) => user.join(rest),
            None => PathBuf::from(path),
        };
        let home = set("HF_HOME").map(expand).unwrap_or_else(|| {
            let cache = set("XDG_CACHE_HOME").map_or_else(|| user.join(".cache"), expand);
            cache.join("huggingface")
        });
        let cache = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
        let stored = || {
            if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
                return None;
            }
            let path = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), expand);
            std::fs::read_to_string(path).ok()
        };
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        HubOptions {
            cache: cache.map_or_else(|| home.join("hub"), expand),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
            progress: !is_true("HF_HUB_DISABLE_PROGRESS_BARS"),
            say: |notice| eprintln!("{notice}"),
        }
    }

    /// With the values of `--download-dir` and `--hf-token`, where they are given.
    pub fn with_flags(mut self, download_dir: Option<&Path>, token: Option<&str>) -> Self {
        if let Some(folder) = download_dir {
            self.cache = folder.to_owned();
        }
        if let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) {
            self.token = Some(token.to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)]) -> HubOptions {
        let find = |name: &str| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        HubOptions::from_vars(find)
    }

    #[test]
    fn the_cache_is_where_hugging_face_looks_for_it() {
        let cache = |vars: &[(&str, &str)]| options(vars).cache.display().to_string();
        assert_eq!(cache(&[("HOME", "/u")]), "/u/.cache/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/u"), ("HF_HOME", "~/hf")]), "/u/hf/hub");
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), "/c");
        let folder = options(&[("HF_HOME", "/h")]).with_flags(Some(Path::new("/d")), None);
        assert_eq!(folder.cache, Path::new("/d"));
    }

    #[test]
    fn flags_tokens_and_endpoints() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "stored\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |vars: &[(&str, &str)]| options(vars).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("stored"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " t ")]).as_deref(), Some("t"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let flag = options(&[("HF_TOKEN", "t")]).with_flags(None, Some("flag"));
        assert_eq!(flag.token.as_deref(), Some("flag"));
        assert_eq!(options(&[]).endpoint, "https://huggingface.co");
        assert_eq!(options(&[("HF_ENDPOINT", "http://x/")]).endpoint, "http://x");
        for (value, offline) in [("1", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(options(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value:?}");
        }
    }
}
