use super::*;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Where vLLM's own kernel put each element of a block: `tests/data/transfer/layout_golden.py`.
const GOLDEN: &str = include_str!("../../../tests/data/transfer/layout.json");

const ISAS: [CpuAttnIsa; 3] = [CpuAttnIsa::Vec, CpuAttnIsa::Vec16, CpuAttnIsa::Amx];

#[test]
fn blocks_are_packed_as_the_kernel_of_vllm_packs_them() {
    let golden: Vec<Value> = serde_json::from_str(GOLDEN).expect("JSON");
    assert_eq!(golden.len(), 12);
    for case in &golden {
        let number = |name: &str| case[name].as_u64().expect("a number") as usize;
        let shape = BlockShape {
            kv_heads: number("kv_heads"),
            tokens: number("block_size"),
            head_dim: number("head_size"),
        };
        let isa = ISAS.into_iter().find(|isa| isa.name() == case["isa"]).expect("a known name");
        // Each element is its own place, modulo 2^16.
        let block: Vec<u16> = (0..shape.len()).map(|place| place as u16).collect();
        let mut packed = vec![0; shape.len()];
        pack(isa, shape, &block, &mut packed);
        let half = shape.tokens * shape.head_dim;
        for (name, at) in [("first_k", 0), ("first_v", half)] {
            let wanted: Vec<u16> = serde_json::from_value(case[name].clone()).expect("places");
            assert_eq!(packed[at..at + wanted.len()], wanted, "{name}: {case}");
        }
        let bytes: Vec<u8> = packed.iter().flat_map(|place| place.to_le_bytes()).collect();
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(case["sha256"], digest, "{isa:?} {shape:?}");
    }
}

#[test]
fn the_machine_packs_as_vllm_would() {
    let shape = |tokens, head_dim| BlockShape { kv_heads: 1, tokens, head_dim };
    assert_eq!(detect(shape(32, 80)), Ok(CpuAttnIsa::Vec16));
    if cfg!(target_arch = "x86_64") {
        let best = if has_amx() { CpuAttnIsa::Amx } else { CpuAttnIsa::Vec };
        assert_eq!(detect(shape(64, 128)), Ok(best));
        assert_eq!(detect(shape(16, 128)), Ok(CpuAttnIsa::Vec16));
    }
}

fn any_shape() -> impl Strategy<Value = BlockShape> {
    (1..4usize, 1..5usize, 1..9usize).prop_map(|(kv_heads, tokens, dims)| BlockShape {
        kv_heads,
        tokens: tokens * TILE,
        head_dim: dims * TILE,
    })
}

proptest! {
    #[test]
    fn packing_moves_every_element_and_unpacking_moves_it_back(
        shape in any_shape(), isa in prop::sample::select(&ISAS), seed in any::<u16>(),
    ) {
        let block: Vec<u16> =
            (0..shape.len()).map(|i| (i as u16).wrapping_mul(31).wrapping_add(seed)).collect();
        let mut packed = vec![0; shape.len()];
        pack(isa, shape, &block, &mut packed);
        let mut again = vec![0; shape.len()];
        unpack(isa, shape, &packed, &mut again);
        prop_assert_eq!(&again, &block);
        let sorted = |values: &[u16]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values
        };
        prop_assert_eq!(sorted(&packed), sorted(&block));
    }

    #[test]
    fn heads_do_not_mix(shape in any_shape(), isa in prop::sample::select(&ISAS)) {
        let per_head = shape.len() / shape.kv_heads;
        let block: Vec<u16> = (0..shape.len()).map(|i| (i / per_head) as u16).collect();
        let mut packed = vec![0; shape.len()];
        pack(isa, shape, &block, &mut packed);
        prop_assert_eq!(packed, block);
    }
}

#[test]
fn tiles_are_not_cut() {
    let shape = |tokens, head_dim| BlockShape { kv_heads: 1, tokens, head_dim };
    assert!(shape(32, 64).fits(CpuAttnIsa::Amx));
    assert!(!shape(24, 64).fits(CpuAttnIsa::Amx) && !shape(32, 72).fits(CpuAttnIsa::Amx));
    assert!(shape(24, 72).fits(CpuAttnIsa::Vec));
}
