//! One file of a snapshot: found, resumed or fetched, and checked.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::CacheRepo;
use hf_hub::api::sync::{Api, ApiError, ApiRepo, Metadata};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::{Hub, HubError};

/// Tries at one file before giving up; each goes on where the last one stopped.
const ATTEMPTS: u32 = 5;
/// The wait before the second try; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A snapshot that is being filled.
pub(super) struct Download<'a> {
    pub hub: &'a Hub<'a>,
    pub api: &'a Api,
    pub repo: ApiRepo,
    pub cache: CacheRepo,
    pub commit: &'a str,
}

/// Why one try failed.
enum Failure {
    /// Another try may go better.
    Passing(String),
    /// Another process is fetching the same file.
    Busy,
    Final(String),
}

impl Download<'_> {
    /// Makes sure that the snapshot has the file.
    pub fn file(&self, name: &str) -> Result<(), HubError> {
        let pointer = self.cache.pointer_path(self.commit).join(name);
        let mut attempt = 0;
        let mut told = false;
        loop {
            if pointer.is_file() {
                return Ok(());
            }
            match self.attempt(name, &pointer) {
                Ok(()) => return Ok(()),
                Err(Failure::Busy) => {
                    // hf-hub has waited a few seconds for the lock by itself. Its owner frees it
                    // by finishing or by dying.
                    if !told {
                        (self.hub.options.say)(&format!("{name}: another process is fetching it"));
                        told = true;
                    }
                }
                Err(Failure::Passing(reason)) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        let reason = format!("{name}: {reason} ({ATTEMPTS} tries)");
                        return Err(self.hub.failed(reason));
                    }
                    std::thread::sleep(FIRST_WAIT * 2u32.pow(attempt - 1));
                }
                Err(Failure::Final(reason)) => {
                    return Err(self.hub.failed(format!("{name}: {reason}")));
                }
            }
        }
    }

    fn attempt(&self, name: &str, pointer: &Path) -> Result<(), Failure> {
        let metadata = self.api.metadata(&self.repo.url(name)).map_err(failure)?;
        let etag = metadata.etag();
        if etag.is_empty() || !etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Failure::Final(format!("the hub gives it the etag {etag:?}")));
        }
        if metadata.commit_hash() != self.commit {
            let other = metadata.commit_hash();
            return Err(Failure::Final(format!("the hub gives it from commit {other}")));
        }
        // A link whose file was cleaned away would stand in the way of the new one.
        if pointer.is_symlink() {
            fs::remove_file(pointer).map_err(file_failure)?;
        }
        let blob = self.cache.blob_path(etag);
        if is_size(&blob, metadata.size()) {
            return link(etag, pointer).map_err(file_failure);
        }
        let resumed = prepare_part(&blob, metadata.size()).map_err(file_failure)?;
        let done = if self.hub.options.progress {
            self.repo.download_with_progress(name, ProgressBar::new(0))
        } else {
            self.repo.download_with_progress(name, ())
        };
        // hf-hub notes the commit as a branch of its own name, which nobody asks for.
        if let Some(root) = blob.parent().and_then(Path::parent) {
            let _ = fs::remove_file(root.join("refs").join(self.commit));
        }
        done.map_err(failure)?;
        self.check(&blob, &metadata, resumed).inspect_err(|_| {
            // What failed the check must not be found by the next start.
            let _ = fs::remove_file(pointer);
            let _ = fs::remove_file(&blob);
        })
    }

    /// A hub that ignores the range of a resumed download, or sends other bytes than before,
    /// leaves a file of the wrong size or content.
    fn check(&self, blob: &Path, metadata: &Metadata, resumed: bool) -> Result<(), Failure> {
        if !is_size(blob, metadata.size()) {
            let size = fs::metadata(blob).map_or(0, |file| file.len());
            let wanted = metadata.size();
            return Err(Failure::Passing(format!("came with {size} bytes instead of {wanted}")));
        }
        // Of large files the etag is the SHA-256.
        let etag = metadata.etag();
        if resumed && etag.len() == 64 && sha256(blob).map_err(file_failure)? != etag {
            return Err(Failure::Passing("came with the wrong SHA-256".to_owned()));
        }
        Ok(())
    }
}

fn is_size(path: &Path, size: usize) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == size as u64)
}

/// Readies what an earlier try left of a file for hf-hub, which asks for the bytes from its end on;
/// whether there is anything.
fn prepare_part(blob: &Path, size: usize) -> std::io::Result<bool> {
    let part = blob.with_extension("part");
    let Ok(file) = fs::OpenOptions::new().write(true).open(&part) else { return Ok(false) };
    let (found, size) = (file.metadata()?.len(), size as u64);
    if found > size || size == 0 {
        fs::remove_file(&part)?;
        return Ok(false);
    }
    if found == size {
        // No byte is missing, only the renaming; but an empty range is an error (416).
        file.set_len(size - 1)?;
    }
    Ok(found > 0)
}

/// Points the snapshot at a blob that another revision brought.
fn link(etag: &str, pointer: &Path) -> std::io::Result<()> {
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder)?;
    }
    let target: PathBuf = ["..", "..", "blobs", etag].iter().collect();
    std::os::unix::fs::symlink(target, pointer)
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn file_failure(error: std::io::Error) -> Failure {
    Failure::Final(format!("cannot write to the cache: {error}"))
}

fn failure(error: ApiError) -> Failure {
    match error {
        ApiError::LockAcquisition(_) => Failure::Busy,
        ApiError::RequestError(error) => match *error {
            ureq::Error::StatusCode(401 | 403) => {
                Failure::Final("access is refused: check HF_TOKEN or --hf-token".to_owned())
            }
            ureq::Error::StatusCode(status @ 400..=428) => {
                Failure::Final(format!("HTTP status {status}"))
            }
            other => Failure::Passing(other.to_string()),
        },
        ApiError::IoError(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Failure::Final(format!("cannot write to the cache: {error}"))
        }
        other => Failure::Passing(other.to_string()),
    }
}
