use super::*;
use proptest::prelude::*;

/// Qwen3-0.6B: 28 layers, 8 KV heads of 128, bf16.
const TOKEN_BYTES: u64 = 28 * 8 * 128 * 2 * 2;

fn request(memory: KvMemory) -> KvRequest {
    KvRequest {
        memory,
        num_blocks_override: None,
        bytes_per_token: TOKEN_BYTES,
        block_size: 64,
        fixed_bytes: GIB,
        driver_bytes: 0,
        max_model_len: 4096,
        fit: false,
    }
}

const HOST: DeviceMemory = DeviceMemory { total: 32 * GIB, available: 21 * GIB };

#[test]
fn the_line_of_a_real_server() {
    let plan = KvPlan { num_blocks: 292, block_size: 64, block_bytes: 1, max_model_len: 4096 };
    let line = "GPU KV cache size: 18,688 tokens, Maximum concurrency for 4,096 tokens per \
                request: 4.56x";
    assert_eq!(plan.summary("GPU"), line);
    assert_eq!(plan.tokens(), 18_688);
    assert_eq!(plan.max_concurrency(), 4.5625);
}

#[test]
fn explicit_bytes_are_cut_into_whole_blocks() {
    let request = request(KvMemory::Bytes(GIB));
    let bytes = kv_bytes(&request, HOST).expect("there is room");
    assert_eq!(bytes, GIB);
    let plan = plan(&request, bytes).expect("146 blocks hold 4096 tokens");
    assert_eq!(plan.num_blocks as u64, GIB / (TOKEN_BYTES * 64));
    assert!(plan.bytes() <= GIB);
}

#[test]
fn a_share_of_the_memory_includes_the_weights() {
    let bytes = kv_bytes(&request(KvMemory::Share(0.5)), HOST);
    assert_eq!(bytes, Ok(15 * GIB));
    let none = kv_bytes(&request(KvMemory::Share(0.03)), HOST).expect_err("less than weights");
    let text = none.to_string();
    assert!(text.starts_with("No available memory for the cache blocks: 0.03 of 32.0 GiB"));
    let much = kv_bytes(&request(KvMemory::Share(0.9)), HOST).expect_err("not available");
    assert!(much.to_string().starts_with("Available memory (21.0/32.0 GiB) is less than"));
}

#[test]
fn a_share_of_a_gpu_includes_its_driver_and_graphs() {
    assert_eq!(driver_bytes(51), (512 + 51) << 20);
    let driver = KvRequest { driver_bytes: driver_bytes(0), ..request(KvMemory::Share(0.5)) };
    assert_eq!(kv_bytes(&driver, HOST), Ok(15 * GIB - GIB / 2));
    // Not where the size is said outright.
    let outright = KvRequest { memory: KvMemory::Bytes(20 * GIB), ..driver };
    assert_eq!(kv_bytes(&outright, HOST), Ok(20 * GIB));
    let blocks = KvRequest { num_blocks_override: Some(64), ..driver };
    assert_eq!(kv_bytes(&blocks, HOST), Ok(15 * GIB));
    // Where it leaves too little, it is named.
    let small = |total: u64| DeviceMemory { total, available: total };
    let none = kv_bytes(&driver, small(3 * GIB)).expect_err("1.5 GiB are less").to_string();
    let start = "No available memory for the cache blocks: 0.5 of 3.0 GiB is less than the 1.0 GiB \
                 of weights and buffers and the 0.5 GiB that are kept for the driver and CUDA \
                 graphs. Increase";
    assert!(none.starts_with(start), "{none}");
    let bytes = kv_bytes(&driver, small(3 * GIB + (64 << 20))).expect("some");
    assert_eq!(bytes, 32 << 20);
    let error = plan(&driver, bytes).expect_err("one request needs more").to_string();
    let part = "KV cache memory (0.03 GiB, beside 0.5 GiB that are kept for the driver and CUDA \
                graphs). Based";
    assert!(error.contains(part), "{error}");
}

#[test]
fn the_share_of_a_gpu_must_be_free() {
    assert_eq!(check_free(21.0 / 32.0, HOST), Ok(()));
    let error = check_free(0.92, HOST).expect_err("21 of 32 GiB are free").to_string();
    assert_eq!(
        error,
        "Free memory on device cuda:0 (21.0/32.0 GiB) on startup is less than desired GPU memory \
         utilization (0.92, 29.44 GiB). Decrease GPU memory utilization or reduce GPU memory used \
         by other processes."
    );
}

#[test]
fn the_default_is_safe_and_serves_one_request() {
    assert_eq!(kv_bytes(&request(KvMemory::Default), HOST), Ok(4 * GIB));
    let small = DeviceMemory { total: 8 * GIB, available: 5 * GIB };
    assert_eq!(kv_bytes(&request(KvMemory::Default), small), Ok(GIB));
    let long = KvRequest { max_model_len: 40_960, ..request(KvMemory::Default) };
    let bytes = kv_bytes(&long, HOST).expect("there is room");
    assert_eq!(bytes, 40_960 * TOKEN_BYTES);
    assert_eq!(plan(&long, bytes).map(|plan| plan.max_concurrency()), Ok(1.0));
    let bytes = kv_bytes(&long, small).expect("what there is");
    assert_eq!(bytes, 4 * GIB / 10 * 9);
    let error = plan(&long, bytes).expect_err("one request needs 4.375 GiB").to_string();
    let start = "To serve at least one request with the model's max seq len (40960), (4.38 GiB \
                 KV cache is needed, which is larger than the available KV cache memory (3.6 \
                 GiB). Based on the available memory, the estimated maximum model length is \
                 33664. ";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn a_length_left_to_the_memory_shrinks() {
    let fit = KvRequest { fit: true, max_model_len: 40_960, ..request(KvMemory::Bytes(GIB)) };
    let plan_of = |bytes| plan(&fit, bytes).map(|plan| plan.max_model_len);
    assert_eq!(plan_of(GIB), Ok(146 * 64));
    assert_eq!(plan_of(8 * GIB), Ok(40_960));
    assert!(plan_of(1000).is_err());
}

#[test]
fn an_override_beats_the_bytes() {
    let request = KvRequest { num_blocks_override: Some(64), ..request(KvMemory::Bytes(99 * GIB)) };
    let bytes = kv_bytes(&request, HOST).expect("the bytes do not matter");
    assert_eq!(plan(&request, bytes).map(|plan| plan.num_blocks), Ok(64));
    let short = KvRequest { num_blocks_override: Some(63), ..request };
    assert!(plan(&short, bytes).is_err());
}

#[test]
fn the_table_adds_up() {
    let lines = table(&[("weights", GIB), ("KV cache", 4 * GIB)], HOST);
    assert_eq!(lines[1], "  weights                  1,073,741,824 bytes      1.00 GiB");
    assert_eq!(lines[3], "  in all                   5,368,709,120 bytes      5.00 GiB");
}

proptest! {
    #[test]
    fn a_plan_never_exceeds_its_bytes_and_serves_one_request(
        bytes in 0u64..1 << 40,
        block_size in (1usize..=16).prop_map(|n| n * 16),
        max_model_len in 1usize..100_000,
        fit: bool,
    ) {
        let request = KvRequest { block_size, max_model_len, fit, ..request(KvMemory::Bytes(0)) };
        match plan(&request, bytes) {
            Ok(plan) => {
                prop_assert!(plan.bytes() <= bytes);
                prop_assert!(plan.num_blocks * block_size >= plan.max_model_len);
                prop_assert!(plan.max_model_len >= 1);
                prop_assert!(fit || plan.max_model_len == max_model_len);
            }
            Err(_) => prop_assert!(request.request_bytes(max_model_len) > bytes),
        }
    }
}
