//! How many bytes and blocks the KV cache gets, as arithmetic: no profiling run, no guess.

use super::host::DeviceMemory;
use super::python::repr_float;
use super::settings::KvMemory;

const GIB: u64 = 1 << 30;
/// The KV cache that a CPU gets when nothing was said, unless one request needs more.
const DEFAULT_KV_BYTES: u64 = 4 * GIB;

/// What a GPU's driver is taken to need beside what is asked of it: its context and the kernels'
/// code. An estimate, from what such contexts usually take; no GPU has confirmed it for ours.
const DRIVER_BYTES: u64 = 512 << 20;
/// And for each CUDA graph. An estimate too: some hundreds of kernels with their arguments.
const GRAPH_BYTES: u64 = 1 << 20;

/// Why the KV cache cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    #[error(
        "No available memory for the cache blocks: {share} of {total} GiB is less than the \
         {fixed} GiB of weights and buffers{kept}. Increase --gpu-memory-utilization (of main \
         memory, on a CPU) or set --kv-cache-memory-bytes."
    )]
    NoneLeft { share: String, total: String, fixed: String, kept: String },
    #[error(
        "Free memory on device cuda:0 ({available}/{total} GiB) on startup is less than desired \
         GPU memory utilization ({share}, {requested} GiB). Decrease GPU memory utilization or \
         reduce GPU memory used by other processes."
    )]
    NotFree { available: String, total: String, share: String, requested: String },
    #[error(
        "Available memory ({available}/{total} GiB) is less than requested memory for kv \
         ({requested} GiB) and the {fixed} GiB of weights and buffers. Decrease \
         --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE or --gpu-memory-utilization, or reduce \
         the memory used by other processes."
    )]
    TooMuch { available: String, total: String, requested: String, fixed: String },
    #[error(
        "To serve at least one request with the model's max seq len ({max_model_len}), ({needed} \
         GiB KV cache is needed, which is larger than the available KV cache memory ({kv} \
         GiB{kept}). {estimate}Increase --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE or \
         --num-gpu-blocks-override, or decrease --max-model-len."
    )]
    OneRequest { max_model_len: usize, needed: String, kv: String, kept: String, estimate: String },
}

/// What the model and the user fix before the KV cache is sized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KvRequest {
    pub memory: KvMemory,
    pub num_blocks_override: Option<usize>,
    /// Bytes of K and V for one token, over all layers.
    pub bytes_per_token: u64,
    /// Tokens in a block.
    pub block_size: usize,
    /// Bytes of weights and of the backend's buffers.
    pub fixed_bytes: u64,
    /// What the driver is taken to need besides (see [`driver_bytes`]). As in vLLM it comes out of
    /// a share of the memory, and not out of a KV cache whose size is said outright.
    pub driver_bytes: u64,
    /// The context length that the model allows or the user chose.
    pub max_model_len: usize,
    /// Whether a shorter context will do (`--max-model-len auto`).
    pub fit: bool,
}

impl KvRequest {
    fn block_bytes(&self) -> u64 {
        self.bytes_per_token * self.block_size as u64
    }

    /// Bytes of the blocks that hold one request of `len` tokens.
    fn request_bytes(&self, len: usize) -> u64 {
        len.div_ceil(self.block_size) as u64 * self.block_bytes()
    }

    /// What is kept for the driver out of the memory that was asked for.
    fn kept_bytes(&self) -> u64 {
        let is_share = matches!(self.memory, KvMemory::Share(_));
        if is_share && self.num_blocks_override.is_none() { self.driver_bytes } else { 0 }
    }

    /// The same for messages, behind `before`; nothing when there is none.
    fn kept(&self, before: &str) -> String {
        match self.kept_bytes() {
            0 => String::new(),
            kept => {
                format!("{before}{} GiB that are kept for the driver and CUDA graphs", gib(kept))
            }
        }
    }
}

/// What a GPU's driver is taken to need for itself and for so many CUDA graphs.
pub fn driver_bytes(graphs: usize) -> u64 {
    DRIVER_BYTES + graphs as u64 * GRAPH_BYTES
}

/// The bytes of a share, as vLLM rounds them.
fn share_bytes(total: u64, share: f64) -> u64 {
    (total as f64 * share).ceil() as u64
}

/// Checks that `share` of a GPU is free, as vLLM does whatever the KV cache is to be.
pub fn check_free(share: f64, gpu: DeviceMemory) -> Result<(), MemoryError> {
    let requested = share_bytes(gpu.total, share);
    if gpu.available >= requested {
        return Ok(());
    }
    Err(MemoryError::NotFree {
        available: gib(gpu.available),
        total: gib(gpu.total),
        share: repr_float(share),
        requested: gib(requested),
    })
}

/// The KV cache as it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPlan {
    pub num_blocks: usize,
    /// Tokens in a block.
    pub block_size: usize,
    pub block_bytes: u64,
    /// The context length, shortened when it was left to the memory.
    pub max_model_len: usize,
}

impl KvPlan {
    /// Bytes of all blocks.
    pub fn bytes(&self) -> u64 {
        self.num_blocks as u64 * self.block_bytes
    }

    /// How many requests of full length fit at once.
    pub fn max_concurrency(&self) -> f64 {
        self.num_blocks as f64 / self.max_model_len.div_ceil(self.block_size) as f64
    }

    /// Tokens in the cache, as vLLM counts them: in requests of full length.
    pub fn tokens(&self) -> usize {
        (self.max_concurrency() * self.max_model_len as f64) as usize
    }

    /// vLLM's line about it; `device` is `CPU` or `GPU`.
    pub fn summary(&self, device: &str) -> String {
        format!(
            "{device} KV cache size: {} tokens, Maximum concurrency for {} tokens per request: \
             {:.2}x",
            thousands(self.tokens()),
            thousands(self.max_model_len),
            self.max_concurrency()
        )
    }
}

/// Bytes for the KV cache on a machine with `host` memory.
///
/// When nothing was said: a quarter of what is available after weights, at most 4 GiB, but enough
/// for one request of full length if nine tenths of it hold that.
pub fn kv_bytes(request: &KvRequest, host: DeviceMemory) -> Result<u64, MemoryError> {
    let fixed = request.fixed_bytes;
    let left = host.available.saturating_sub(fixed);
    let bytes = match request.memory {
        KvMemory::Bytes(bytes) => bytes,
        KvMemory::Share(share) => {
            let budget = share_bytes(host.total, share);
            let rest = budget.checked_sub(fixed + request.kept_bytes());
            rest.filter(|bytes| *bytes > 0).ok_or_else(|| MemoryError::NoneLeft {
                share: repr_float(share),
                total: gib(host.total),
                fixed: gib(fixed),
                kept: request.kept(" and the "),
            })?
        }
        KvMemory::Default => {
            let usual = (left / 4).min(DEFAULT_KV_BYTES);
            let one_request = request.request_bytes(request.max_model_len);
            if request.fit { usual } else { usual.max(one_request.min(left / 10 * 9)) }
        }
    };
    // With an override, the bytes only serve to say what was overridden.
    if request.num_blocks_override.is_none() && bytes > left {
        return Err(MemoryError::TooMuch {
            available: gib(host.available),
            total: gib(host.total),
            requested: gib(bytes),
            fixed: gib(fixed),
        });
    }
    Ok(bytes)
}

/// Cuts `bytes` into blocks and checks that one request of full length fits.
pub fn plan(request: &KvRequest, bytes: u64) -> Result<KvPlan, MemoryError> {
    let block_bytes = request.block_bytes();
    let num_blocks = request.num_blocks_override.unwrap_or((bytes / block_bytes.max(1)) as usize);
    let largest = num_blocks.saturating_mul(request.block_size).min(request.max_model_len);
    let shortened = request.fit && largest > 0;
    if largest < request.max_model_len && !shortened {
        let estimate = match largest {
            0 => String::new(),
            len => format!(
                "Based on the available memory, the estimated maximum model length is {len}. "
            ),
        };
        return Err(MemoryError::OneRequest {
            max_model_len: request.max_model_len,
            needed: gib(request.request_bytes(request.max_model_len)),
            kv: gib(num_blocks as u64 * block_bytes),
            kept: request.kept(", beside "),
            estimate,
        });
    }
    let block_size = request.block_size;
    Ok(KvPlan { num_blocks, block_size, block_bytes, max_model_len: largest })
}

/// Where the memory goes, one line each, for the log: parts with their bytes, then the sum.
pub fn table(parts: &[(&str, u64)], host: DeviceMemory) -> Vec<String> {
    let line = |name: &str, bytes: u64| {
        format!("  {name:<22} {:>15} bytes {:>9.2} GiB", thousands(bytes as usize), in_gib(bytes))
    };
    let sum: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
    let mut lines = vec!["Memory:".to_owned()];
    lines.extend(parts.iter().map(|(name, bytes)| line(name, *bytes)));
    lines.push(line("in all", sum));
    lines.push(line("available at start", host.available));
    lines
}

fn in_gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// Two decimals at most, as vLLM prints sizes.
fn gib(bytes: u64) -> String {
    repr_float((in_gib(bytes) * 100.0).round() / 100.0)
}

/// `18,688`.
fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
