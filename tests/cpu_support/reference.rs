//! A Qwen3 forward pass as plain loops over one sequence, in f64.

use super::Tensors;
use glassbox::model::Dims;
use glassbox::types::Token;
use half::bf16;

/// How exact the reference is about what the kernels round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Nothing is rounded.
    None,
    /// What the kernels keep as bf16 is rounded to it: operands of products, the KV cache.
    Bf16,
}

impl Rounding {
    fn apply(self, x: &mut [f64]) {
        if self == Rounding::Bf16 {
            x.iter_mut().for_each(|x| *x = bf16::from_f64(*x).to_f64());
        }
    }
}

fn matmul(w: &[f32], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
    w.chunks_exact(x.len()).map(dot).collect()
}

fn norm(x: &[f64], weight: &[f32], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * f64::from(*w)).collect()
}

/// Logits of every position of `tokens`.
pub fn forward(
    dims: &Dims,
    tensors: &Tensors,
    tokens: &[Token],
    rounding: Rounding,
) -> Vec<Vec<f32>> {
    let get = |name: &str| tensors.f32(name);
    let embedding = get("model.embed_tokens.weight");
    let row = |t: &Token| {
        let start = *t as usize * dims.hidden;
        embedding[start..start + dims.hidden].iter().map(|x| f64::from(*x)).collect()
    };
    let mut xs: Vec<Vec<f64>> = tokens.iter().map(row).collect();
    for layer in 0..dims.layers {
        let get = |part: &str| get(&format!("model.layers.{layer}.{part}.weight"));
        attention(dims, &get, &mut xs, rounding);
        let weight = get("post_attention_layernorm");
        let (gate, up, down) = (get("mlp.gate_proj"), get("mlp.up_proj"), get("mlp.down_proj"));
        for x in &mut xs {
            let mut normed = norm(x, &weight, dims.rms_eps);
            rounding.apply(&mut normed);
            let silu = |g: f64| g / (1.0 + (-g).exp());
            let gates = matmul(&gate, &normed);
            let ups = matmul(&up, &normed);
            let mut act: Vec<f64> = gates.iter().zip(&ups).map(|(g, u)| silu(*g) * u).collect();
            rounding.apply(&mut act);
            add(x, &matmul(&down, &act));
        }
    }
    let head = if dims.tied { embedding } else { get("lm_head.weight") };
    let last = get("model.norm.weight");
    let logits = |x: &Vec<f64>| {
        let mut normed = norm(x, &last, dims.rms_eps);
        rounding.apply(&mut normed);
        matmul(&head, &normed).iter().map(|x| *x as f32).collect()
    };
    xs.iter().map(logits).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn rotate(dims: &Dims, head: &mut [f64], position: usize) {
    let half = dims.head_dim / 2;
    for (i, frequency) in dims.inverse_frequencies().iter().enumerate() {
        let angle = f64::from(position as f32 * *frequency as f32);
        let factor = f64::from(dims.rope_factor());
        let (sin, cos) = (angle.sin() * factor, angle.cos() * factor);
        let (low, high) = (head[i], head[i + half]);
        head[i] = low * cos - high * sin;
        head[i + half] = high * cos + low * sin;
    }
}

/// One layer's attention, added to `xs`.
fn attention(dims: &Dims, get: &dyn Fn(&str) -> Vec<f32>, xs: &mut [Vec<f64>], rounding: Rounding) {
    let d = dims.head_dim;
    let weight = get("input_layernorm");
    let norms = [get("self_attn.q_norm"), get("self_attn.k_norm")];
    let parts = ["q", "k", "v"].map(|p| get(&format!("self_attn.{p}_proj")));
    let project = |(position, x): (usize, &Vec<f64>)| {
        let mut normed = norm(x, &weight, dims.rms_eps);
        rounding.apply(&mut normed);
        let mut qkv = [0, 1, 2].map(|i| matmul(&parts[i], &normed));
        for (part, norms) in qkv.iter_mut().zip(&norms) {
            for head in part.chunks_exact_mut(d) {
                head.copy_from_slice(&norm(head, norms, dims.rms_eps));
                rotate(dims, head, position);
            }
        }
        qkv.iter_mut().for_each(|part| rounding.apply(part));
        qkv
    };
    let qkv: Vec<[Vec<f64>; 3]> = xs.iter().enumerate().map(project).collect();
    let o = get("self_attn.o_proj");
    for (position, x) in xs.iter_mut().enumerate() {
        let mut out = vec![0.0; dims.heads * d];
        for (head, out) in out.chunks_exact_mut(d).enumerate() {
            let kv = head / (dims.heads / dims.kv_heads) * d;
            let q = &qkv[position][0][head * d..][..d];
            let dot = |k: &[f64]| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
            let scores: Vec<f64> = qkv[..=position]
                .iter()
                .map(|t| dot(&t[1][kv..kv + d]) / (d as f64).sqrt())
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (weight, t) in weights.iter().zip(&qkv) {
                let scaled: Vec<f64> =
                    t[2][kv..kv + d].iter().map(|v| weight / total * v).collect();
                add(out, &scaled);
            }
        }
        rounding.apply(&mut out);
        add(x, &matmul(&o, &out));
    }
}
