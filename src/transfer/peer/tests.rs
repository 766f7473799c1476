use super::super::metadata::tests::golden;
use super::*;

const HASH: &str = "29414aca40aedfe4dfa4cd9fa297fedf2e640a1104d06511ead8d7afad13ce78";

/// A server like the one that the golden metadata is of.
fn local() -> Local {
    let region = |layer: u64| KvRegion {
        place: KvPlace::Main,
        address: 4096 << layer,
        block_len: 32768,
        stride: 32768,
        num_blocks: 7,
    };
    Local {
        engine_id: "d".to_owned(),
        regions: (0..4).map(region).collect(),
        block_size: 32,
        attn_backend: AttnBackend::CpuAttn,
        compatibility_hash: HASH.to_owned(),
        enforce_hash: true,
    }
}

fn payload(metadata: &AgentMetadata) -> HandshakePayload {
    HandshakePayload {
        compatibility_hash: HASH.to_owned(),
        agent_metadata_bytes: metadata.encode(),
    }
}

fn check(metadata: &AgentMetadata) -> Result<PeerMetadata, Mismatch> {
    local().check(&payload(metadata), &metadata.engine_id)
}

#[test]
fn vllm_is_a_peer() {
    let golden = golden();
    let peer = check(&golden).expect("a peer");
    assert_eq!(peer.agent_metadata, golden.agent_metadata);
    assert!(peer.same_hash && peer.attn_backend == AttnBackend::CpuAttn);
    let wanted = KvRegion {
        place: KvPlace::Main,
        address: golden.kv_caches_base_addr[3],
        block_len: 32768,
        stride: 32768,
        num_blocks: 8192,
    };
    assert_eq!((peer.regions.len(), peer.regions[3]), (4, wanted));
}

#[test]
fn what_is_told_of_this_side_passes_the_same_check() {
    let ours = local().payload(b"way");
    let metadata = AgentMetadata::decode(&ours.agent_metadata_bytes).expect("metadata");
    let like_vllm = AgentMetadata {
        engine_id: "d".to_owned(),
        agent_metadata: b"way".to_vec(),
        kv_caches_base_addr: vec![4096, 8192, 16384, 32768],
        num_blocks: 7,
        region_num_blocks: Some(vec![7; 4]),
        ..golden()
    };
    assert_eq!(metadata, like_vllm);
    let peer = local().check(&ours, "d").expect("a peer");
    assert_eq!(peer.regions, local().regions);
}

#[test]
fn the_hash_comes_first_and_need_not_be_enforced() {
    let mut other = payload(&golden());
    other.compatibility_hash = "00".to_owned();
    let metadata = other.agent_metadata_bytes.clone();
    other.agent_metadata_bytes = vec![0xc1];
    let id = golden().engine_id;
    let error = local().check(&other, &id).expect_err("another hash").to_string();
    assert!(error.contains(&format!("Local: {HASH}, Remote: 00. Prefill")), "{error}");
    assert!(
        error.ends_with("'{\"kv_connector_extra_config\": {\"enforce_handshake_compat\": false}}'")
    );
    let lenient = Local { enforce_hash: false, ..local() };
    let error = lenient.check(&other, &id).expect_err("no metadata");
    assert!(matches!(error, Mismatch::Decode(_)), "{error}");
    other.agent_metadata_bytes = metadata;
    assert!(!lenient.check(&other, &id).expect("a peer").same_hash);
}

#[test]
fn another_engine_at_the_same_place_is_not_the_peer() {
    let error = local().check(&payload(&golden()), "e").expect_err("another engine");
    let wanted = "Remote NIXL agent engine ID mismatch. Expected e, received \
                  65b16b2c-86a5-40f6-9722-ee40aba9f260.";
    assert_eq!(error.to_string(), wanted);
}

/// What one lie comes to.
fn complaint(lie: impl FnOnce(&mut AgentMetadata)) -> String {
    let mut metadata = golden();
    lie(&mut metadata);
    check(&metadata).expect_err("a mismatch").to_string()
}

#[test]
fn differences_name_both_sides() {
    for (found, wanted) in [
        (complaint(|m| m.block_size = 64), "the peer has block_size 64, and here it is 32"),
        (
            complaint(|m| m.kv_cache_layout = "LBNHC".to_owned()),
            "the peer has kv_cache_layout LBNHC, and here it is LBHNC",
        ),
        (complaint(|m| m.dcp_size = 2), "the peer has dcp_size 2, and here it is 1"),
        (complaint(|m| m.pcp_size = 0), "the peer has pcp_size 0, and here it is 1"),
        (
            complaint(|m| m.attn_backend_name = "FLASHINFER".to_owned()),
            "the peer has attn_backend_name FLASHINFER, and here it is CPU_ATTN",
        ),
        (
            complaint(|m| m.block_lens[2] = 16384),
            "the peer has block_lens 16384, and here it is 32768",
        ),
        (
            complaint(|m| m.region_names.as_mut().unwrap().swap(1, 2)),
            "the peer has region_names model.layers.2.self_attn.attn, and here it is \
             model.layers.1.self_attn.attn",
        ),
        (
            complaint(|m| m.block_strides.truncate(3)),
            "the peer has block_strides of 3 regions, and here it is of 4 regions",
        ),
        (
            complaint(|m| m.region_num_blocks = Some(vec![8192; 5])),
            "the peer has region_num_blocks of 5 regions, and here it is of 4 regions",
        ),
        (
            complaint(|m| m.ssm_sizes = [1, 0]),
            "the peer has ssm_sizes [1, 0], and here it is [0, 0]",
        ),
    ] {
        assert_eq!(found, wanted);
    }
}

fn texts(text: &str) -> Option<Vec<String>> {
    Some(vec![text.to_owned(); 4])
}

/// The same server with its KV cache on a GPU.
fn on_gpu(number: u32) -> Local {
    let regions = local().regions.into_iter();
    let there = |region| KvRegion { place: KvPlace::Gpu(number), ..region };
    Local { regions: regions.map(there).collect(), ..local() }
}

#[test]
fn a_gpus_memory_is_named_by_its_kind_and_number() {
    let metadata = AgentMetadata::decode(&on_gpu(3).payload(b"way").agent_metadata_bytes);
    let metadata = metadata.expect("metadata");
    assert_eq!((&metadata.region_mem_types, metadata.device_id), (&texts("VRAM"), 3));
    // Each side is described by what it says itself.
    for here in [local(), on_gpu(0)] {
        let there = here.check(&payload(&metadata), "d").expect("a peer").regions;
        assert!(there.iter().all(|region| region.place == KvPlace::Gpu(3)), "{there:?}");
        let there = here.check(&payload(&golden()), &golden().engine_id).expect("a peer").regions;
        assert!(there.iter().all(|region| region.place == KvPlace::Main), "{there:?}");
    }
    // Who says nothing is as we are.
    let silent = AgentMetadata { region_mem_types: None, ..metadata };
    let there = local().check(&payload(&silent), "d").expect("a peer").regions;
    assert_eq!(there[0].place, KvPlace::Main);
    let there = on_gpu(0).check(&payload(&silent), "d").expect("a peer").regions;
    assert_eq!(there[0].place, KvPlace::Gpu(3));
}

#[test]
fn lies_are_errors() {
    for found in [
        complaint(|m| (m.num_blocks, m.region_num_blocks) = (0, None)),
        complaint(|m| m.region_num_blocks.as_mut().unwrap()[1] = 0),
        complaint(|m| m.region_num_blocks.as_mut().unwrap()[1] = 8191),
        complaint(|m| m.region_num_blocks.as_mut().unwrap()[3] = u64::MAX),
        complaint(|m| m.block_strides[0] = 32767),
        complaint(|m| m.block_strides[0] = u64::MAX),
        complaint(|m| m.kv_caches_base_addr[0] = 0),
        complaint(|m| m.kv_caches_base_addr[2] = u64::MAX - 4096),
        complaint(|m| m.kv_caches_base_addr[2] = 1 << 63),
        complaint(|m| m.region_mem_types.as_mut().unwrap()[3] = "VRAM".to_owned()),
        complaint(|m| m.region_mem_types = texts("FILE")),
        complaint(|m| (m.region_mem_types, m.device_id) = (texts("VRAM"), 1 << 32)),
    ] {
        assert!(found.contains("cannot be: "), "{found}");
    }
    let long = complaint(|m| m.attn_backend_name = "x\n".repeat(100_000));
    assert!(long.len() < 400 && !long.contains('\n'), "{} bytes", long.len());
}

#[test]
fn fields_that_older_peers_leave_out_are_not_missed() {
    let bare = AgentMetadata {
        region_num_blocks: None,
        region_group_ids: None,
        region_names: None,
        region_mem_types: None,
        ..golden()
    };
    assert_eq!(check(&bare), check(&golden()));
}
