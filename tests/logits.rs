//! The CPU backend against Hugging Face: teacher-forced logits of qwen3-tiny and of small random
//! models in odd shapes, stored by `tests/data/reference/make.py`.
//!
//! The yardstick is Hugging Face's own bf16: how far its logits are from the same model's in f32.
//! Ours may be no further.

use glassbox::model::{Checkpoint, Dims, ModelConfig, Weights};
use glassbox::runner::cpu::{CpuBackend, Isa};
use glassbox::runner::{Backend, Limits, RowSink, StepBatch};
use glassbox::types::{BlockId, Token, TokenLogprobs};
use half::bf16;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where the two best f32 logits are further apart than this part of the logits' own spread, ours
/// must agree which is best.
const CLEAR: f32 = 0.02;

/// One stored sequence.
struct Sequence {
    tokens: Vec<Token>,
    /// Positions whose logits are stored.
    positions: Vec<usize>,
    /// `[positions][vocabulary]`, computed in f32 and in bf16.
    exact: Vec<f32>,
    rounded: Vec<f32>,
}

/// How far some logits are from the exact ones.
#[derive(Default)]
struct Error {
    squares: f64,
    of: f64,
    worst: f64,
}

impl Error {
    fn add(&mut self, exact: &[f32], found: &[f32]) {
        for (&a, &b) in exact.iter().zip(found) {
            let off = f64::from(b) - f64::from(a);
            self.squares += off * off;
            self.of += f64::from(a) * f64::from(a);
            self.worst = self.worst.max(off.abs());
        }
    }

    /// The relative error in the L2 norm.
    fn relative(&self) -> f64 {
        (self.squares / self.of).sqrt()
    }
}

/// All rows of logits of a step, in order.
struct Keep(Vec<Vec<f32>>);

impl RowSink for Keep {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        assert_eq!(row, self.0.len());
        self.0.push(logits.to_vec());
    }

    fn sampled(&mut self, _: usize, token: Token) {
        panic!("the CPU backend gave token {token} where logits were wanted");
    }

    fn reported(&mut self, row: usize, sampled: TokenLogprobs) {
        self.sampled(row, sampled.token);
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn weight_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("model") && name.ends_with(".safetensors")
        })
        .collect();
    files.sort();
    files
}

/// The stored sequences, after a check that they were made from these weights.
fn sequences(name: &str, weights: &[PathBuf], vocab: usize) -> Vec<Sequence> {
    let bytes = std::fs::read(root("tests/data/reference").join(name).join("logits.safetensors"));
    let bytes = bytes.unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut digest = Sha256::new();
    weights.iter().for_each(|file| digest.update(std::fs::read(file).unwrap()));
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        header.metadata().as_ref().unwrap()["weights_sha256"],
        digest,
        "the logits of {name} are of other weights: run tests/data/reference/make.py {name}"
    );
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = |key: &str, i: usize| file.tensor(&format!("{key}.{i}")).unwrap().data().to_vec();
    let words = |bytes: Vec<u8>| -> Vec<[u8; 4]> { bytes.as_chunks::<4>().0.to_vec() };
    (0..file.len() / 4)
        .map(|i| {
            let ints = |key| words(data(key, i)).into_iter().map(i32::from_le_bytes);
            let sequence = Sequence {
                tokens: ints("tokens").map(|token| token as Token).collect(),
                positions: ints("positions").map(|at| at as usize).collect(),
                exact: words(data("f32", i)).into_iter().map(f32::from_le_bytes).collect(),
                rounded: (data("bf16", i).as_chunks::<2>().0.iter())
                    .map(|&pair| bf16::from_le_bytes(pair).to_f32())
                    .collect(),
            };
            assert_eq!(sequence.exact.len(), sequence.positions.len() * vocab);
            assert_eq!(sequence.rounded.len(), sequence.exact.len());
            sequence
        })
        .collect()
}

fn backend(dims: &Dims, weights: &dyn Weights, longest: usize, isa: Isa) -> CpuBackend {
    let block_size = 16;
    let blocks = longest.div_ceil(block_size);
    let limits = Limits {
        max_tokens: longest,
        max_seqs: 1,
        max_blocks_per_seq: blocks,
        num_blocks: blocks + 1,
        block_size,
        vocab_size: dims.vocab,
    };
    CpuBackend::new(dims, weights, limits, 2, Some(isa)).unwrap()
}

/// The logits of every token of a sequence that is fed in steps of at most `chunk` tokens.
fn forced(backend: &mut CpuBackend, tokens: &[Token], chunk: usize) -> Vec<Vec<f32>> {
    let blocks: Vec<BlockId> = (1..backend.limits().num_blocks as BlockId).rev().collect();
    let mut batch = StepBatch::new(backend.limits());
    let mut kept = Vec::new();
    for (i, part) in tokens.chunks(chunk).enumerate() {
        batch.clear();
        batch.push(part, i * chunk, &blocks, part.len(), None);
        backend.submit(&batch).unwrap();
        let mut rows = Keep(Vec::new());
        backend.collect(&mut rows).unwrap();
        kept.append(&mut rows.0);
    }
    assert_eq!(kept.len(), tokens.len());
    kept
}

/// The best token, and how far the second best is behind, in units of the row's spread.
fn best(logits: &[f32]) -> (usize, f32) {
    let first = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let others = || logits.iter().enumerate().filter(|(i, _)| *i != first).map(|(_, &x)| x);
    let second = others().fold(f32::NEG_INFINITY, f32::max);
    let mean = logits.iter().sum::<f32>() / logits.len() as f32;
    let variance = logits.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / logits.len() as f32;
    (first, (logits[first] - second) / variance.sqrt())
}

fn compare(name: &str, folder: &Path) {
    let files = weight_files(folder);
    let dims = ModelConfig::load(&folder.join("config.json"), &Default::default()).unwrap().dims;
    let weights = Checkpoint::open(&files).unwrap();
    let sequences = sequences(name, &files, dims.vocab);
    let longest = sequences.iter().map(|s| s.tokens.len()).max().unwrap();
    for isa in Isa::available() {
        let mut backend = backend(&dims, &weights, longest, isa);
        let (mut ours, mut theirs) = (Error::default(), Error::default());
        for (i, sequence) in sequences.iter().enumerate() {
            let found = forced(&mut backend, &sequence.tokens, longest);
            let chunked = forced(&mut backend, &sequence.tokens, 13);
            assert!(found == chunked, "{name} on {isa}: sequence {i} depends on its chunks");
            let rows = sequence.exact.chunks(dims.vocab).zip(sequence.rounded.chunks(dims.vocab));
            for (&at, (exact, rounded)) in sequence.positions.iter().zip(rows) {
                ours.add(exact, &found[at]);
                theirs.add(exact, rounded);
                let ((wanted, gap), (chosen, _)) = (best(exact), best(&found[at]));
                assert!(
                    chosen == wanted || gap < CLEAR,
                    "{name} on {isa}: token {at} of sequence {i} is followed by {chosen}, by \
                     {wanted} in f32, where the second best is {gap} spreads behind"
                );
            }
        }
        println!(
            "{name} on {isa}: {:.3} % from f32, at worst {:.3}; Hugging Face's bf16 {:.3} %, {:.3}",
            100.0 * ours.relative(),
            ours.worst,
            100.0 * theirs.relative(),
            theirs.worst
        );
        assert!(ours.relative() <= theirs.relative(), "{name} on {isa}: too far from f32");
        assert!(ours.worst <= theirs.worst, "{name} on {isa}: a logit too far from f32");
    }
}

#[test]
fn qwen3_tiny() {
    compare("qwen3-tiny", &root("models/qwen3-tiny"));
}

/// Every other folder of `tests/data/reference`: a new one is a new test.
#[test]
fn odd_shapes() {
    let reference = root("tests/data/reference");
    let mut names: Vec<String> = std::fs::read_dir(&reference)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| reference.join(name).join("config.json").exists())
        .collect();
    names.sort();
    assert!(names.len() >= 4, "found only {names:?}");
    for name in &names {
        compare(name, &reference.join(name));
    }
}
