use super::*;
use crate::config::Settings;

fn settings_with(args: &[&str], vars: &[(&str, &str)]) -> Result<Settings, String> {
    let args = [&["vllm", "serve", "org/m"], args].concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let env = Env::read(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    match crate::config::parse(&args, env).map_err(|exit| exit.stderr)? {
        crate::config::Invocation::Serve(settings) => Ok(*settings),
        other => panic!("{other:?}"),
    }
}

fn read_json(json: &str) -> Result<Settings, String> {
    settings_with(&["--device", "cpu", "--kv-transfer-config", json], &[])
}

fn nixl(extra: &str) -> String {
    format!(
        r#"{{"kv_connector": "NixlConnector", "kv_role": "kv_producer",
        "kv_connector_extra_config": {{{extra}}}}}"#
    )
}

#[test]
fn defaults_are_those_of_vllm() {
    let json = r#"{"kv_connector":"NixlConnector", "kv_role":"kv_both"}"#;
    let settings = read_json(json).expect("valid");
    let config = settings.kv_transfer.expect("a connector");
    let wanted = KvTransferConfig {
        engine_id: config.engine_id.clone(),
        role: KvRole::Both,
        load_failure_policy: LoadFailurePolicy::Fail,
        buffer_device: None,
        transport: KvTransport::Nixl,
        backends: vec!["UCX".to_owned()],
        num_threads: 4,
        lease: Duration::from_secs(30),
        enforce_handshake_compat: true,
        engine_ttl: Duration::from_secs(3600),
        attn_backend: AttnBackend::FlashAttn,
        cpu_attn_isa: None,
        vllm_version: "0.32.0".to_owned(),
        model: "org/m".to_owned(),
        block_checksums: false,
        tcp_host: None,
        tcp_port: 0,
        side_channel_host: "localhost".to_owned(),
        side_channel_port: 5600,
    };
    assert_eq!(config, wanted);
    assert_eq!((config.engine_id.len(), &config.engine_id[14..15]), (36, "4"));
    let deprecated = "Using kv_role='kv_both' with NixlConnector is deprecated and will be removed \
                      in a future release. Please set kv_role='kv_producer' for prefill instances \
                      and kv_role='kv_consumer' for decode instances. ";
    assert_eq!(settings.warnings, [deprecated]);
}

#[test]
fn no_connector_is_no_transfer() {
    for json in ["{}", "None", "", r#"{"kv_role": "kv_both"}"#, r#"{"kv_connector": null}"#] {
        assert_eq!(read_json(json).expect(json).kv_transfer, None, "{json}");
    }
}

#[test]
fn every_field_is_read() {
    let json = r#"{"kv_connector": "NixlPullConnector", "kv_role": "kv_consumer", "engine_id": "e",
        "kv_buffer_device": "cpu", "kv_port": "14", "enable_permute_local_kv": "no",
        "kv_load_failure_policy": "recompute", "kv_connector_extra_config": {"backends": ["UCX",
        "GDS"], "num_threads": 2, "kv_lease_duration": 60, "enforce_handshake_compat": false,
        "engine_ttl": 1.5, "transport": "tcp", "attn_backend_name": "CPU_ATTN", "cpu_attn_isa":
        "amx", "vllm_version": "0.33.0", "model": "/models/m", "block_checksums": true, "tcp_host":
        "10.0.0.7", "tcp_port": 5700, "bidirectional_kv_xfer": false, "kv_recompute_threshold": 9,
        "new_in_33": 1, "odd": 2}}"#;
    let vars =
        [("VLLM_NIXL_SIDE_CHANNEL_HOST", "10.0.0.7"), ("VLLM_NIXL_SIDE_CHANNEL_PORT", "5601")];
    let args = ["--block-size", "64", "--kv-transfer-config", json];
    let settings = settings_with(&args, &vars).expect("valid");
    let wanted = KvTransferConfig {
        engine_id: "e".to_owned(),
        role: KvRole::Consumer,
        load_failure_policy: LoadFailurePolicy::Recompute,
        buffer_device: Some("cpu".to_owned()),
        transport: KvTransport::Tcp,
        backends: vec!["UCX".to_owned(), "GDS".to_owned()],
        num_threads: 2,
        lease: Duration::from_secs(60),
        enforce_handshake_compat: false,
        engine_ttl: Duration::from_millis(1500),
        attn_backend: AttnBackend::CpuAttn,
        cpu_attn_isa: Some(CpuAttnIsa::Amx),
        vllm_version: "0.33.0".to_owned(),
        model: "/models/m".to_owned(),
        block_checksums: true,
        tcp_host: Some("10.0.0.7".to_owned()),
        tcp_port: 5700,
        side_channel_host: "10.0.0.7".to_owned(),
        side_channel_port: 5601,
    };
    assert_eq!(settings.kv_transfer, Some(wanted));
    let place = "kv_connector_extra_config of --kv-transfer-config";
    let wanted = [
        format!("{place}: unknown keys change nothing: new_in_33, odd"),
        format!("{place}: these change nothing while blocks are pulled: kv_recompute_threshold"),
    ];
    assert_eq!(settings.idle, wanted);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn dotted_flags_are_the_same() {
    let args = [
        "--kv-transfer-config.kv_connector",
        "NixlConnector",
        "--kv-transfer-config.kv_role",
        "kv_producer",
        "--kv-transfer-config.kv_connector_extra_config.kv_lease_duration",
        "60",
        "--kv-transfer-config.kv_connector_extra_config.backends+",
        "UCX",
    ];
    let config = settings_with(&args, &[]).expect("valid").kv_transfer.expect("a connector");
    assert_eq!((config.role, config.lease), (KvRole::Producer, Duration::from_secs(60)));
    assert!(!config.role.is_consumer());
    assert_eq!(config.backends, ["UCX"]);
}

/// Recorded from vLLM's own parser, but for the frame around each sentence.
#[test]
fn mistakes_are_named_as_in_vllm() {
    let with = |field: &str| {
        format!(r#"{{"kv_connector": "NixlConnector", "kv_role": "kv_both", {field}}}"#)
    };
    let role = "Input should be 'kv_producer', 'kv_both' or 'kv_consumer'";
    for (json, complaint) in [
        (
            r#"{"kv_connector": "NixlConnector"}"#.to_owned(),
            "Please specify kv_role when kv_connector is set, supported roles are \
             ('kv_producer', 'kv_both', 'kv_consumer')",
        ),
        (
            r#"{"kv_connector": "NixlConnector", "kv_role": "both"}"#.to_owned(),
            &format!("kv_role: {role}"),
        ),
        (r#"{"kv_connector": 5}"#.to_owned(), "kv_connector: Input should be a valid string"),
        (with(r#""foo": 1"#), "foo: Unexpected keyword argument"),
        (
            with(r#""kv_port": "x""#),
            "kv_port: Input should be a valid integer, unable to parse string as an integer",
        ),
        (with(r#""engine_id": 7"#), "engine_id: Input should be a valid string"),
        (with(r#""kv_buffer_device": 3"#), "kv_buffer_device: Input should be a valid string"),
        (with(r#""kv_buffer_device": "cuda""#), "cpu with cuda kv_buffer is not supported."),
        (
            with(r#""kv_load_failure_policy": "x""#),
            "kv_load_failure_policy: Input should be 'recompute' or 'fail'",
        ),
        (
            with(r#""kv_connector_extra_config": [1]"#),
            "kv_connector_extra_config: Input should be an object",
        ),
        (
            with(r#""enable_permute_local_kv": "maybe""#),
            "enable_permute_local_kv: Input should be a valid boolean, unable to interpret input",
        ),
        ("[1]".to_owned(), "Input should be an object"),
    ] {
        let error = read_json(&json).expect_err(&json);
        let wanted = format!("vllm serve: error: argument --kv-transfer-config: {complaint}\n");
        assert_eq!(error, wanted, "{json}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let named = |name: &str| format!(r#"{{"kv_connector": "{name}", "kv_role": "kv_both"}}"#);
    let module = r#"{"kv_connector": "NixlConnector", "kv_role": "kv_both",
        "kv_connector_module_path": "my.module"}"#;
    for (json, complaint) in [
        (named("Nope"), "Unsupported connector type: Nope. Glassbox has NixlConnector"),
        (named("LMCacheConnectorV1"), "Unsupported connector type: LMCacheConnectorV1"),
        (named("NixlPushConnector"), "NixlPushConnector is not supported: blocks are pulled"),
        (module.to_owned(), "kv_connector_module_path names Python code"),
        (nixl(r#""bidirectional_kv_xfer": true"#), "bidirectional_kv_xfer is not supported"),
        (nixl(r#""backends": []"#), "backends must be a list of names, not []"),
        (nixl(r#""backends": "UCX""#), "backends must be a list of names"),
        (nixl(r#""num_threads": 0"#), "num_threads must be 1 to 256, not 0"),
        (
            nixl(r#""kv_lease_duration": 0"#),
            "kv_lease_duration must be a number of seconds above 0",
        ),
        (nixl(r#""engine_ttl": 1e300"#), "engine_ttl must be a number of seconds above 0"),
        (nixl(r#""enforce_handshake_compat": "no""#), "must be true or false, not \"no\""),
        (nixl(r#""transport": "rdma""#), "transport must be nixl or tcp, not rdma"),
        (nixl(r#""attn_backend_name": "X""#), "must be FLASH_ATTN or CPU_ATTN, not X"),
        (nixl(r#""cpu_attn_isa": "neon""#), "cpu_attn_isa must be vec, vec16 or amx, not neon"),
        (nixl(r#""tcp_port": 65536"#), "tcp_port must be 0 to 65535, not 65536"),
        (nixl(r#""model": 7"#), "model must be a text, not 7"),
        (
            nixl(r#""attn_backend_name": "CPU_ATTN""#),
            "attn_backend_name CPU_ATTN has blocks of a multiple of 32 tokens, not 16",
        ),
    ] {
        let error = read_json(&json).expect_err(&json);
        assert!(error.contains(complaint), "{json}: {error}");
        assert!(error.contains("argument --kv-transfer-config: "), "{error}");
    }
    let small = nixl(r#""attn_backend_name": "CPU_ATTN", "cpu_attn_isa": "vec16""#);
    assert!(read_json(&small).is_ok());
}
