use super::*;
use crate::config::Settings;

fn settings_with(json: &str, more: &[&str], vars: &[(&str, &str)]) -> Result<Settings, String> {
    let mut args = vec!["vllm", "serve", "m", "--kv-events-config", json];
    args.extend(more);
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let env = Env::read(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    match crate::config::parse(&args, env).map_err(|exit| exit.stderr)? {
        crate::config::Invocation::Serve(settings) => Ok(*settings),
        other => panic!("{other:?}"),
    }
}

fn events(json: &str) -> KvEventsSettings {
    settings_with(json, &[], &[]).expect("valid").kv_events.expect("events are on")
}

#[test]
fn defaults_are_those_of_vllm() {
    let on = events(r#"{"enable_kv_cache_events": true}"#);
    let wanted = KvEventsSettings {
        endpoint: EventEndpoint::Bind(EventAddress::Tcp { host: "*".to_owned(), port: 5557 }),
        replay_endpoint: None,
        buffer_steps: 10_000,
        hwm: 100_000,
        max_queue_size: 100_000,
        topic: String::new(),
        encoding: EventEncoding::Map,
        int_hashes: true,
        rank: 0,
        first_wait: Duration::from_secs(10),
        node_ip: None,
    };
    assert_eq!(on, wanted);
}

#[test]
fn off_unless_enabled_and_zmq() {
    for json in [
        "{}",
        r#"{"publisher": "zmq"}"#,
        r#"{"enable_kv_cache_events": true, "publisher": "null"}"#,
    ] {
        let settings = settings_with(json, &[], &[]).expect("valid");
        assert_eq!(settings.kv_events, None, "{json}");
        assert_eq!(settings.warnings.len(), usize::from(json.starts_with(r#"{"publisher"#)));
    }
    let caching = ["--no-enable-prefix-caching"];
    let settings = settings_with(r#"{"enable_kv_cache_events": true}"#, &caching, &[]).unwrap();
    assert!(settings.warnings[0].contains("prefix caching is off"), "{:?}", settings.warnings);
}

#[test]
fn every_field_and_both_switches_are_read() {
    let json = r#"{"enable_kv_cache_events": true, "publisher": "zmq", "endpoint":
        "tcp://epp.llm-d:5557", "replay_endpoint": "tcp://*:5558", "buffer_steps": 3, "hwm": 4,
        "max_queue_size": 5, "topic": "kv@10.0.0.7@Qwen/Qwen3-0.6B"}"#;
    let vars = [
        ("VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES", "0"),
        ("GLASSBOX_KV_EVENTS_ENCODING", "array"),
        ("VLLM_HOST_IP", "10.0.0.7"),
    ];
    let on = settings_with(json, &["--glassbox-kv-events-wait", "0.5"], &vars).unwrap();
    let on = on.kv_events.expect("events are on");
    let tcp = |host: &str, port| EventAddress::Tcp { host: host.to_owned(), port };
    assert_eq!(on.endpoint, EventEndpoint::Connect(tcp("epp.llm-d", 5557)));
    assert_eq!(on.replay_endpoint, Some(tcp("*", 5558)));
    assert_eq!((on.buffer_steps, on.hwm, on.max_queue_size), (3, 4, 5));
    assert_eq!((on.encoding, on.int_hashes), (EventEncoding::Array, false));
    assert_eq!(on.topic, "kv@10.0.0.7@Qwen/Qwen3-0.6B");
    assert_eq!(
        (on.first_wait, on.node_ip.as_deref()),
        (Duration::from_millis(500), Some("10.0.0.7"))
    );
    let flag = ["--glassbox-kv-events-encoding", "map"];
    let on = settings_with(json, &flag, &vars).unwrap().kv_events.expect("on");
    assert_eq!(on.encoding, EventEncoding::Map, "the flag wins over the variable");
    let vars = [("GLASSBOX_KV_EVENTS_ENCODING", "cbor")];
    assert!(
        settings_with(json, &[], &vars).unwrap_err().contains("must be map, array or array-2025")
    );
}

#[test]
fn mistakes_are_named() {
    for (field, complaint) in [
        (r#""publisher": "kafka""#, "publisher must be zmq or null, not kafka"),
        (r#""endpoit": """#, "there is no field endpoit"),
        (r#""hwm": -1"#, "hwm must be a whole number"),
        (r#""buffer_steps": "many""#, "buffer_steps must be a whole number"),
        (r#""topic": 3"#, "topic must be a text"),
        (r#""endpoint": "udp://h:1""#, "neither tcp://HOST:PORT nor ipc://PATH"),
        (r#""endpoint": "tcp://h:99999""#, "needs a port"),
        (r#""endpoint": "inproc://events""#, "only inside this process"),
        (r#""replay_endpoint": "ipc://""#, "needs a path"),
    ] {
        let json = format!(r#"{{"enable_kv_cache_events": true, {field}}}"#);
        let error = settings_with(&json, &[], &[]).expect_err(field);
        assert!(error.contains(complaint), "{field}: {error}");
        assert!(error.contains("--kv-events-config"), "{error}");
    }
    assert!(settings_with("[1]", &[], &[]).unwrap_err().contains("must be a JSON object"));
}

#[test]
fn the_bind_rule_is_that_of_vllm() {
    for (text, bind) in [
        ("tcp://*:5557", true),
        ("tcp://*:0", true),
        ("tcp://[::]:5557", true),
        ("tcp://[fd00::1]:5557", true),
        ("ipc:///tmp/events", true),
        ("tcp://0.0.0.0:5557", false),
        ("tcp://epp:5557", false),
    ] {
        let endpoint = EventEndpoint::parse(text).expect(text);
        assert_eq!(matches!(endpoint, EventEndpoint::Bind(_)), bind, "{text}");
        let (EventEndpoint::Bind(address) | EventEndpoint::Connect(address)) = endpoint;
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn ranks_shift_ports_as_in_vllm() {
    for (text, rank, wanted) in [
        ("tcp://*:5557", 0, "tcp://*:5557"),
        ("tcp://*:5557", 3, "tcp://*:5560"),
        ("tcp://epp:5557", 1, "tcp://epp:5558"),
        ("tcp://*:0", 2, "tcp://*:0"),
        ("inproc://cache", 2, "inproc://cache_dp2"),
        ("ipc:///tmp/events", 0, "ipc:///tmp/events"),
    ] {
        assert_eq!(shifted(text, rank).as_deref(), Ok(wanted));
    }
    assert!(shifted("ipc:///tmp/events", 1).is_err());
}
