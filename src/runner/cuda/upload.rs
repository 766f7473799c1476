//! From a checkpoint to the device: some threads read rows into pinned memory, from where the
//! device copies and packs them meanwhile.

use super::driver::{Device, Event, Failure, Launch, Pinned, Span, Stream, launch};
use super::error::CudaError;
use super::kernels::Kernels;
use super::weights::Model;
use crate::model::{Dims, Weights};
use crate::runner::rotary::fill_rotary;
use half::bf16;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Buffers that go round between the readers and the device.
const BUFFERS: usize = 6;
/// Threads that read.
const READERS: usize = 4;
/// Elements of a buffer, unless 16 rows need more.
const BUFFER_LEN: usize = 4 << 20;

/// Threads of a block that packs, each with a pair of elements.
const PACK_THREADS: u32 = 256;

/// A tensor and where it goes: its row `r` becomes output `r / unit * stride + r % unit + offset`
/// of a packed matrix.
struct Matrix {
    name: String,
    rows: usize,
    k: usize,
    to: Span<bf16>,
    unit: usize,
    stride: usize,
    offset: usize,
}

/// Some rows of a matrix: what one buffer carries.
struct Chunk<'a> {
    matrix: &'a Matrix,
    first: usize,
    rows: usize,
}

/// Pinned memory with its twin on the device.
struct Buffer {
    host: Pinned<bf16>,
    staged: Span<bf16>,
    /// The device is done with both.
    free: Event,
}

/// What a reader gives: a buffer that holds the rows of a chunk, by its index.
type Filled = Result<(Buffer, usize), CudaError>;

/// The elements that the staging memory on the device must have.
pub(super) fn staging_len(dims: &Dims) -> usize {
    BUFFERS * buffer_len(dims)
}

fn buffer_len(dims: &Dims) -> usize {
    let widest = dims.hidden.max(dims.intermediate).max(dims.heads * dims.head_dim);
    BUFFER_LEN.max(16 * widest)
}

/// Fills `model`. `staging` holds [`staging_len`] elements that nobody else uses.
pub(super) fn upload(
    device: &Arc<Device>,
    kernels: &Kernels,
    dims: &Dims,
    weights: &dyn Weights,
    model: &Model,
    staging: Span<bf16>,
) -> Result<(), CudaError> {
    let stream = Stream::new(device)?;
    let matrices = matrices(dims, model);
    for matrix in &matrices {
        weights.check(&matrix.name, &[matrix.rows, matrix.k])?;
        // Outputs that only fill a tile up are 0.
        stream.clear(matrix.to)?;
    }
    let len = buffer_len(dims);
    let chunks: Vec<_> = matrices.iter().flat_map(|matrix| cut(matrix, len)).collect();
    let (freed, empty) = channel();
    for i in 0..BUFFERS {
        let (host, free) = (Pinned::new(device, len)?, Event::restful(device)?);
        free.record(&stream)?;
        let buffer = Buffer { host, staged: staging.part(i * len, len), free };
        freed.send(buffer).map_err(|_| Failure::closed())?;
    }
    let (empty, next) = (Mutex::new(empty), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (filled, arrived) = channel();
        for _ in 0..READERS {
            let (empty, next, chunks, filled) = (&empty, &next, &chunks, filled.clone());
            scope.spawn(move || read(device, weights, chunks, next, empty, &filled));
        }
        drop(filled);
        // Ends with this closure, so that no reader waits for a buffer that never comes.
        let freed = freed;
        for result in arrived {
            let (buffer, index) = result?;
            pack(&stream, kernels, &chunks[index], &buffer)?;
            buffer.free.record(&stream)?;
            // Nobody takes it any more once the last chunk is read.
            let _ = freed.send(buffer);
        }
        Ok::<_, CudaError>(())
    })?;
    copy_vectors(device, &stream, dims, weights, model)?;
    Ok(stream.wait()?)
}

/// Reads chunks into free buffers until none is left or one fails.
fn read(
    device: &Device,
    weights: &dyn Weights,
    chunks: &[Chunk<'_>],
    next: &AtomicUsize,
    empty: &Mutex<Receiver<Buffer>>,
    filled: &Sender<Filled>,
) {
    let fill = |chunk: &Chunk<'_>| -> Result<Buffer, CudaError> {
        let taken = empty.lock().unwrap_or_else(|broken| broken.into_inner()).recv();
        let mut buffer = taken.map_err(|_| Failure::closed())?;
        device.bind()?;
        buffer.free.wait()?;
        let Chunk { matrix, first, rows } = chunk;
        weights.read_rows(&matrix.name, *first, &mut buffer.host[..rows * matrix.k])?;
        Ok(buffer)
    };
    loop {
        let index = next.fetch_add(1, Relaxed);
        let Some(chunk) = chunks.get(index) else { return };
        let result = fill(chunk).map(|buffer| (buffer, index));
        let failed = result.is_err();
        if filled.send(result).is_err() || failed {
            return;
        }
    }
}

/// Asks `stream` to copy `buffer` and to pack it as `chunk` says.
fn pack(
    stream: &Stream,
    kernels: &Kernels,
    chunk: &Chunk<'_>,
    buffer: &Buffer,
) -> Result<(), Failure> {
    let Chunk { matrix, first, rows } = *chunk;
    let (k, unit, stride) = (matrix.k, matrix.unit, matrix.stride);
    let offset = matrix.offset + first / unit * stride;
    // SAFETY: readers wait for the event before they write the buffer again; the rows that are
    // packed are inside the matrix.
    unsafe {
        stream.upload(&buffer.host, rows * k, buffer.staged)?;
        let blocks = (rows * k / 2).div_ceil(PACK_THREADS as usize) as u32;
        let grid = Launch { grid: [blocks, 1, 1], block: PACK_THREADS, shared: 0 };
        let (to, from) = (matrix.to, buffer.staged);
        launch!(kernels.pack_rows, stream, grid, to, from, rows, k, unit, stride, offset)
    }
}

/// Cuts a matrix into chunks of whole units that fit `len` elements.
fn cut(matrix: &Matrix, len: usize) -> impl Iterator<Item = Chunk<'_>> {
    let rows = len / matrix.k / 16 * 16;
    (0..matrix.rows).step_by(rows).map(move |first| Chunk {
        matrix,
        first,
        rows: rows.min(matrix.rows - first),
    })
}

/// All matrices of the model.
fn matrices(dims: &Dims, model: &Model) -> Vec<Matrix> {
    let plain = |name: String, rows, k, to, offset| Matrix {
        name,
        rows,
        k,
        to,
        unit: 16,
        stride: 16,
        offset,
    };
    let (hidden, vocab) = (dims.hidden, dims.vocab);
    let embedding = "model.embed_tokens.weight".to_owned();
    let mut all = vec![plain(embedding, vocab, hidden, model.embedding, 0)];
    if !dims.tied {
        all.push(plain("lm_head.weight".to_owned(), vocab, hidden, model.lm_head, 0));
    }
    let (q, kv) = (dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim);
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}_proj.weight");
        let half = |part, offset| Matrix {
            unit: 8,
            ..plain(name(part), dims.intermediate, hidden, layer.gate_up, offset)
        };
        all.extend([
            plain(name("self_attn.q"), q, hidden, layer.qkv, 0),
            plain(name("self_attn.k"), kv, hidden, layer.qkv, q),
            plain(name("self_attn.v"), kv, hidden, layer.qkv, q + kv),
            plain(name("self_attn.o"), hidden, q, layer.o, 0),
            half("mlp.gate", 0),
            half("mlp.up", 8),
            plain(name("mlp.down"), hidden, dims.intermediate, layer.down, 0),
        ]);
    }
    all
}

/// The norms and the rotary table: too little to be worth any overlap.
fn copy_vectors(
    device: &Arc<Device>,
    stream: &Stream,
    dims: &Dims,
    weights: &dyn Weights,
    model: &Model,
) -> Result<(), CudaError> {
    let mut norm = Pinned::<f32>::new(device, dims.hidden.max(dims.head_dim))?;
    let mut row = vec![bf16::ZERO; norm.len()];
    let mut copy = |name: String, to: Span<f32>| -> Result<(), CudaError> {
        weights.check(&name, &[to.len])?;
        weights.read_rows(&name, 0, &mut row[..to.len])?;
        for (to, from) in norm.iter_mut().zip(&row[..to.len]) {
            *to = from.to_f32();
        }
        // SAFETY: waited for at once.
        unsafe { stream.upload(&norm, to.len, to)? };
        Ok(stream.wait()?)
    };
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        copy(name("input_layernorm"), layer.input_norm)?;
        copy(name("post_attention_layernorm"), layer.post_attention_norm)?;
        copy(name("self_attn.q_norm"), layer.q_norm)?;
        copy(name("self_attn.k_norm"), layer.k_norm)?;
    }
    copy("model.norm.weight".to_owned(), model.last_norm)?;
    let mut rotary = Pinned::<f32>::new(device, model.rotary.len)?;
    fill_rotary(dims, &mut rotary);
    // SAFETY: waited for at once.
    unsafe { stream.upload(&rotary, rotary.len(), model.rotary)? };
    Ok(stream.wait()?)
}
