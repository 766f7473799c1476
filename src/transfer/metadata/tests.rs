use super::*;
use proptest::prelude::*;
use rmpv::Value;

/// The reply of a running vLLM 0.32 (CPU) with `qwen3-tiny` and blocks of 32 tokens.
pub(in crate::transfer) const GOLDEN: &[u8] =
    include_bytes!("../../../tests/data/transfer/handshake-vllm-0.32.msgpack");

pub(in crate::transfer) fn golden() -> AgentMetadata {
    let payload = HandshakePayload::decode(GOLDEN).expect("vLLM's payload");
    AgentMetadata::decode(&payload.agent_metadata_bytes).expect("vLLM's metadata")
}

#[test]
fn what_vllm_wrote_is_read_and_written_again_byte_for_byte() {
    let payload = HandshakePayload::decode(GOLDEN).expect("vLLM's payload");
    let digits = "29414aca40aedfe4dfa4cd9fa297fedf2e640a1104d06511ead8d7afad13ce78";
    assert_eq!(payload.compatibility_hash, digits);
    assert_eq!(payload.encode(), GOLDEN);
    let metadata = golden();
    assert_eq!(metadata.encode(), payload.agent_metadata_bytes);
    let layers = |of: &dyn Fn(usize) -> String| Some((0..4).map(of).collect());
    let wanted = AgentMetadata {
        engine_id: "65b16b2c-86a5-40f6-9722-ee40aba9f260".to_owned(),
        agent_metadata: metadata.agent_metadata.clone(),
        kv_caches_base_addr: (0..4)
            .map(|layer| 139_707_233_071_168 + layer * (256 << 20))
            .collect(),
        device_id: 0,
        num_blocks: 8192,
        block_lens: vec![32768; 4],
        block_strides: vec![32768; 4],
        kv_cache_layout: "LBHNC".to_owned(),
        block_size: 32,
        ssm_sizes: [0, 0],
        attn_backend_name: "CPU_ATTN".to_owned(),
        physical_blocks_per_logical_kv_block: 1,
        region_num_blocks: Some(vec![8192; 4]),
        region_group_ids: Some(vec![0; 4]),
        region_names: layers(&|layer| format!("model.layers.{layer}.self_attn.attn")),
        region_mem_types: layers(&|_| "DRAM".to_owned()),
        dcp_size: 1,
        pcp_size: 1,
        ple_block_len: None,
        region_members: Vec::new(),
        packed_member_layouts: Vec::new(),
    };
    assert_eq!(metadata, wanted);
    assert!(metadata.agent_metadata.starts_with(b"nixlSerDes|"));
}

/// The golden metadata with its fields changed.
fn changed(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let Value::Map(mut map) = rmpv::decode::read_value(&mut &golden().encode()[..]).unwrap() else {
        panic!("a map")
    };
    change(&mut map);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &Value::Map(map)).unwrap();
    bytes
}

fn with(name: &'static str, value: Value) -> Vec<u8> {
    changed(|map| {
        let field = map.iter_mut().find(|(key, _)| key.as_str() == Some(name));
        field.expect("the field").1 = value;
    })
}

#[test]
fn a_required_field_must_be_there_and_the_others_have_defaults() {
    let names: Vec<String> = match rmpv::decode::read_value(&mut &golden().encode()[..]).unwrap() {
        Value::Map(map) => map.iter().map(|(key, _)| key.as_str().unwrap().to_owned()).collect(),
        other => panic!("{other}"),
    };
    for name in &names {
        let bytes = changed(|map| map.retain(|(key, _)| key.as_str() != Some(name)));
        match AgentMetadata::decode(&bytes) {
            Ok(metadata) => {
                assert!(!REQUIRED.contains(&name.as_str()), "{name}");
                assert_eq!((metadata.dcp_size, metadata.pcp_size), (1, 1));
            }
            Err(error) => {
                assert!(REQUIRED.contains(&name.as_str()), "{name}");
                assert_eq!(error.to_string(), format!("Object missing required field `{name}`"));
            }
        }
    }
    let more = changed(|map| {
        map.insert(0, ("new_in_33".into(), Value::Map(vec![(1.into(), Value::Nil)])));
    });
    assert_eq!(AgentMetadata::decode(&more), Ok(golden()), "unknown fields are passed over");
}

#[test]
fn a_wrong_type_is_named() {
    for (bytes, error) in [
        (with("num_blocks", "many".into()), "Expected `int`, got `str` - at `$.num_blocks`"),
        (with("num_blocks", 1.5.into()), "Expected `int`, got `float` - at `$.num_blocks`"),
        (with("engine_id", Value::Nil), "Expected `str`, got `null` - at `$.engine_id`"),
        (with("agent_metadata", "x".into()), "Expected `bytes`, got `str` - at `$.agent_metadata`"),
        (
            with("block_lens", Value::Array(vec![1.into(), true.into()])),
            "Expected `int`, got `bool` - at `$.block_lens[...]`",
        ),
        (
            with("ssm_sizes", Value::Array(vec![0.into()])),
            "Expected `array` of length 2, got 1 - at `$.ssm_sizes`",
        ),
        (
            with("region_names", Value::Map(Vec::new())),
            "Expected `array`, got `object` - at `$.region_names`",
        ),
        (b"\x93\x01\x02\x03".to_vec(), "Expected `object`, got `array` - at `$`"),
        (b"\x81\x01\x02".to_vec(), "Expected `str`, got `int` - at `$`"),
        (Vec::new(), "Input data was truncated"),
    ] {
        assert_eq!(AgentMetadata::decode(&bytes).unwrap_err().to_string(), error);
    }
    let extra = [GOLDEN, b"\xc0"].concat();
    let error = HandshakePayload::decode(&extra).unwrap_err().to_string();
    assert_eq!(error, "MessagePack data is malformed: 1 bytes follow its end");
    let huge = with("block_lens", Value::Array(vec![0.into(); MOST_REGIONS + 1]));
    assert!(AgentMetadata::decode(&huge).unwrap_err().to_string().contains("length <= 16384"));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        engine_id in "\\PC{0,40}",
        blob in prop::collection::vec(any::<u8>(), 0..600),
        numbers in prop::collection::vec(any::<u64>(), 0..40),
        names in prop::option::of(prop::collection::vec("[a-z.0-9]{0,30}", 0..8)),
        members in prop::collection::vec(prop::collection::vec("[a-z]{0,9}", 0..3), 0..3),
        sizes in any::<[u64; 2]>(),
        ple_block_len in any::<Option<u64>>(),
    ) {
        let metadata = AgentMetadata {
            engine_id,
            agent_metadata: blob,
            kv_caches_base_addr: numbers.clone(),
            region_num_blocks: Some(numbers),
            region_names: names,
            packed_member_layouts: vec![("a".to_owned(), sizes)],
            region_members: members,
            ssm_sizes: sizes,
            ple_block_len,
            ..golden()
        };
        prop_assert_eq!(AgentMetadata::decode(&metadata.encode()), Ok(metadata));
    }

    #[test]
    fn a_byte_that_differs_is_an_error_or_another_value(
        at in 0..GOLDEN.len(), bit in 0..8u32, cut in any::<bool>(),
    ) {
        let mut bytes = GOLDEN.to_vec();
        if cut {
            bytes.truncate(at);
            prop_assert!(HandshakePayload::decode(&bytes).is_err());
        } else {
            bytes[at] ^= 1 << bit;
            if let Ok(payload) = HandshakePayload::decode(&bytes) {
                let _ = AgentMetadata::decode(&payload.agent_metadata_bytes);
            }
        }
    }
}
