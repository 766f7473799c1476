//! How a NIXL transport is made, and why it cannot be.

use super::agent::{Agent, Failed};
use super::library::Library;
use crate::types::uuid4;
use std::env;
use std::ffi::CString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;

/// What UCX is told before the library is opened: without it UCX keeps memory that it should give
/// back.
const ENVIRONMENT: [(&str, &str); 1] = [("UCX_RCACHE_MAX_UNRELEASED", "1024")];

/// Sets what NIXL should find in the environment, where the operator does not.
///
/// # Safety
/// The process has no other thread: variables cannot be set while others are read.
pub unsafe fn set_environment() {
    for (name, value) in ENVIRONMENT {
        if env::var_os(name).is_none() {
            // SAFETY: nobody else is there.
            unsafe { env::set_var(name, value) };
        }
    }
}

/// How a [`NixlTransport`] is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NixlOptions {
    /// The library, or its folder; `None`: GLASSBOX_NIXL_LIB, or where installations put it.
    pub library: Option<PathBuf>,
    /// Of each backend; 0: its own choice.
    pub num_threads: u32,
    /// Plugins of NIXL.
    pub backends: Vec<String>,
    /// Whether peers will be read from. What that takes is made at start then, which takes half a
    /// second and more, and not while the first request waits.
    pub reads: bool,
    /// NIXL has threads that wait for news. Without them news is found where the owner looks, which
    /// it does more often then.
    ///
    /// For memory of a GPU there are none, whatever this says: they know nothing of CUDA's context,
    /// and UCX crashes in one of them at times (ai-dynamo/nixl#2102).
    pub threads: bool,
    /// A peer that does not end a read for so long (longer for large ones) is gone.
    pub stall: Duration,
}

impl Default for NixlOptions {
    fn default() -> Self {
        let (backends, stall) = (vec!["UCX".to_owned()], Duration::from_secs(10));
        Self { library: None, num_threads: 4, backends, reads: true, threads: true, stall }
    }
}

/// Why there is no NIXL transport.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NixlError {
    #[error(
        "NIXL is not there ({tried}). Install it, for instance with \
         `pip install --target /opt/nixl --no-deps nixl-cu13`, or name libnixl_capi.so or its \
         folder in GLASSBOX_NIXL_LIB."
    )]
    Missing { tried: String },
    #[error("{path} is not the NIXL that is known here: {why}", path = .path.display())]
    Symbols { path: PathBuf, why: String },
    #[error("NIXL's backend {name} does not start: {why}")]
    Backend { name: String, why: String },
    #[error("NIXL: {0}")]
    Failed(String),
}

impl From<Failed> for NixlError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed.to_string())
    }
}

/// An agent with its backends, named as vLLM names its own.
pub(super) fn agent(
    library: &'static Library,
    options: &NixlOptions,
) -> Result<Rc<Agent>, NixlError> {
    let parameters = match CString::new(options.num_threads.to_string()) {
        Ok(count) if options.num_threads > 0 && options.threads => vec![(c"num_threads", count)],
        _ => Vec::new(),
    };
    Agent::new(library, &uuid4(), &options.backends, options.threads, &parameters)
}
