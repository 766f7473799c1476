//! A checkpoint on disk: one or more safetensors files, read row by row.
//!
//! Only the headers stay in memory. Rows are read with `pread`, so that several threads can pack
//! different tensors at once and the page cache holds the only other copy.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::Value;

use super::error::one_line;
use super::{WeightError, Weights};

/// Bytes that a row range is read through; a multiple of every element's size.
const CHUNK: usize = 256 << 10;
/// The longest header that is read, as in the safetensors library.
const LONGEST_HEADER: u64 = 100_000_000;

/// The open files of a checkpoint and where each tensor lies in them.
#[derive(Debug)]
pub struct Checkpoint {
    shards: Vec<Shard>,
    tensors: HashMap<String, Place>,
    /// The folder or file, for errors about the whole.
    place: String,
}

#[derive(Debug)]
struct Shard {
    place: String,
    file: File,
}

#[derive(Debug)]
struct Place {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Of the first element, from the start of the file.
    offset: u64,
}

fn wrong(place: &Path, reason: impl ToString) -> WeightError {
    let reason = one_line(&reason.to_string());
    WeightError::File { place: place.display().to_string(), reason }
}

/// The shards that `model.safetensors.index.json` names, in order, beside the index.
///
/// # Errors
/// An index that is no JSON, has no `weight_map`, or names a file outside its folder.
pub fn shards_of_index(index: &Path) -> Result<Vec<PathBuf>, WeightError> {
    let text = std::fs::read_to_string(index).map_err(|error| wrong(index, error))?;
    let values: Value = serde_json::from_str(&text)
        .map_err(|error| wrong(index, format!("not a JSON object: {error}")))?;
    let Some(Value::Object(map)) = values.get("weight_map") else {
        return Err(wrong(index, "has no weight_map"));
    };
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (tensor, shard) in map {
        let name = shard.as_str().filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
        let Some(name) = name else {
            let reason = format!("weight_map gives {shard} for {tensor}, a file name is wanted");
            return Err(wrong(index, reason));
        };
        if seen.insert(name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| index.with_file_name(name)).collect())
}

impl Checkpoint {
    /// Opens safetensors files and reads their headers. Where two files hold a tensor of the same
    /// name, the later one counts, as in vLLM.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, or whose header is not safetensors'.
    pub fn open(files: &[PathBuf]) -> Result<Self, WeightError> {
        let mut checkpoint =
            Checkpoint { shards: Vec::new(), tensors: HashMap::new(), place: String::new() };
        for path in files {
            let file = File::open(path).map_err(|error| wrong(path, error))?;
            let (start, header) = read_header(path, &file)?;
            let shard = checkpoint.shards.len();
            for (name, info) in header.tensors() {
                let place = Place {
                    shard,
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    offset: start + info.data_offsets.0 as u64,
                };
                checkpoint.tensors.insert(name, place);
            }
            checkpoint.shards.push(Shard { place: path.display().to_string(), file });
        }
        checkpoint.place = match files {
            [] => "checkpoint".to_owned(),
            [one] => one.display().to_string(),
            [first, ..] => first.parent().unwrap_or(first).display().to_string(),
        };
        Ok(checkpoint)
    }

    /// Bytes of all tensors on disk.
    pub fn bytes(&self) -> u64 {
        let size = |place: &Place| {
            (place.shape.iter().product::<usize>() * place.dtype.bitsize() / 8) as u64
        };
        self.tensors.values().map(size).sum()
    }

    fn find(&self, name: &str) -> Result<&Place, WeightError> {
        self.tensors.get(name).ok_or_else(|| WeightError::Missing {
            place: self.place.clone(),
            name: name.to_owned(),
        })
    }
}

/// The offset of the data and the header, checked against the file's length.
fn read_header(path: &Path, file: &File) -> Result<(u64, Metadata), WeightError> {
    let cut = |wanted: u64, found: u64| {
        wrong(
            path,
            format!("truncated: {wanted} bytes are wanted, the file has {found}; fetch it again"),
        )
    };
    let length = file.metadata().map_err(|error| wrong(path, error))?.len();
    let mut size = [0; 8];
    if length < 8 {
        return Err(cut(8, length));
    }
    file.read_exact_at(&mut size, 0).map_err(|error| wrong(path, error))?;
    let size = u64::from_le_bytes(size);
    if size > LONGEST_HEADER {
        return Err(wrong(path, "not a safetensors file (its header would be above 100 MB)"));
    }
    if 8 + size > length {
        return Err(cut(8 + size, length));
    }
    let mut text = vec![0; size as usize];
    file.read_exact_at(&mut text, 8).map_err(|error| wrong(path, error))?;
    let header: Metadata = serde_json::from_slice(&text)
        .map_err(|error| wrong(path, format!("not a safetensors header: {error}")))?;
    let wanted = (8 + size).saturating_add(header.data_len() as u64);
    match wanted.cmp(&length) {
        std::cmp::Ordering::Equal => Ok((8 + size, header)),
        std::cmp::Ordering::Greater => Err(cut(wanted, length)),
        std::cmp::Ordering::Less => {
            Err(wrong(path, format!("has {} bytes behind its last tensor", length - wanted)))
        }
    }
}

impl Weights for Checkpoint {
    fn check(&self, name: &str, shape: &[usize]) -> Result<(), WeightError> {
        let found = self.find(name)?;
        let place = || self.shards[found.shard].place.clone();
        if found.shape != shape {
            return Err(WeightError::Shape {
                place: place(),
                name: name.to_owned(),
                found: found.shape.clone(),
                wanted: shape.to_vec(),
            });
        }
        match found.dtype {
            Dtype::BF16 | Dtype::F16 | Dtype::F32 => Ok(()),
            other => Err(WeightError::Dtype {
                place: place(),
                name: name.to_owned(),
                dtype: other.to_string(),
            }),
        }
    }

    fn read_rows(&self, name: &str, first_row: usize, out: &mut [bf16]) -> Result<(), WeightError> {
        let found = self.find(name)?;
        let shard = &self.shards[found.shard];
        let wrong = |reason: String| WeightError::File { place: shard.place.clone(), reason };
        let width = found.shape.last().copied().unwrap_or(1);
        let first = first_row.saturating_mul(width);
        let elements: usize = found.shape.iter().product();
        if first.saturating_add(out.len()) > elements {
            return Err(wrong(format!("tensor {name} has no {} rows", first_row + 1)));
        }
        let (size, convert): (usize, Convert) = match found.dtype {
            Dtype::BF16 => (2, from_bf16),
            Dtype::F16 => (2, from_f16),
            Dtype::F32 => (4, from_f32),
            other => {
                return Err(WeightError::Dtype {
                    place: shard.place.clone(),
                    name: name.to_owned(),
                    dtype: other.to_string(),
                });
            }
        };
        let mut buffer = vec![0; CHUNK.min(out.len() * size)];
        let mut offset = found.offset + (first * size) as u64;
        for part in out.chunks_mut(CHUNK / size) {
            let bytes = &mut buffer[..part.len() * size];
            shard
                .file
                .read_exact_at(bytes, offset)
                .map_err(|error| wrong(format!("tensor {name} cannot be read: {error}")))?;
            convert(bytes, part);
            offset += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Turns little-endian elements of one dtype into bf16.
type Convert = fn(&[u8], &mut [bf16]);

fn from_bf16(bytes: &[u8], out: &mut [bf16]) {
    for (bytes, out) in bytes.chunks_exact(2).zip(out) {
        *out = bf16::from_le_bytes([bytes[0], bytes[1]]);
    }
}

fn from_f16(bytes: &[u8], out: &mut [bf16]) {
    for (bytes, out) in bytes.chunks_exact(2).zip(out) {
        *out = bf16::from_f32(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32());
    }
}

fn from_f32(bytes: &[u8], out: &mut [bf16]) {
    for (bytes, out) in bytes.chunks_exact(4).zip(out) {
        *out = bf16::from_f32(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    }
}
