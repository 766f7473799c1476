use super::super::env::Env;
use super::super::table::SERVE;
use super::super::{grammar, resolve, settings::Settings};
use super::*;
use proptest::prelude::*;

const URL: &str = "http://collector:4317";

fn resolved(args: &[&str], vars: &[(&str, &str)]) -> Result<Settings, String> {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
    let env = Env::read(|name| find(name).map(|(_, value)| (*value).to_owned()))?;
    resolve::resolve(&grammar::parse(&SERVE, &args).expect("good flags"), env, Vec::new())
}

/// Settings and warnings with an endpoint and these variables.
fn on(vars: &[(&str, &str)]) -> (TracingSettings, Vec<String>) {
    let settings = resolved(&["m", "--otlp-traces-endpoint", URL], vars);
    let settings = settings.unwrap_or_else(|error| panic!("{vars:?}: {error}"));
    (settings.tracing.expect("tracing is on"), settings.warnings)
}

fn quiet(vars: &[(&str, &str)]) -> TracingSettings {
    let (settings, warnings) = on(vars);
    assert!(warnings.is_empty(), "{vars:?}: {warnings:?}");
    settings
}

/// Settings with exactly one warning, which starts like this.
fn warned(vars: &[(&str, &str)], start: &str) -> TracingSettings {
    let (settings, warnings) = on(vars);
    assert_eq!(warnings.len(), 1, "{vars:?}: {warnings:?}");
    assert!(warnings[0].starts_with(start), "{vars:?}: {warnings:?}");
    settings
}

fn refused(vars: &[(&str, &str)]) -> String {
    resolved(&["m", "--otlp-traces-endpoint", URL], vars).expect_err("a refusal")
}

#[test]
fn tracing_is_on_with_an_endpoint_only() {
    for args in [&["m"][..], &["m", "--otlp-traces-endpoint="]] {
        let vars = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", URL), ("OTEL_BSP_SCHEDULE_DELAY", "x")];
        let settings = resolved(args, &vars).expect("good");
        assert_eq!((settings.tracing, settings.warnings), (None, Vec::new()));
    }
    let settings = quiet(&[]);
    assert_eq!(
        settings,
        TracingSettings {
            level: TraceLevel::Phases,
            exporter: ExporterSettings {
                endpoint: URL.to_owned(),
                protocol: OtlpProtocol::Grpc,
                timeout: Duration::from_secs(10),
                headers: Vec::new(),
                compression: Compression::None,
                tls: TlsFiles::default(),
            },
            batch: BatchSettings {
                max_queue_size: 16384,
                max_batch_size: 512,
                schedule_delay: Duration::from_secs(5),
            },
            sampler: SamplerSettings::default(),
            limits: SpanLimits::default(),
            resource: Vec::new(),
            read_parent: true,
            process_parent: (None, None),
        }
    );
}

#[test]
fn the_sdk_can_be_switched_off() {
    for value in ["true", " TRUE "] {
        let vars = [("OTEL_SDK_DISABLED", value)];
        let settings = resolved(&["m", "--otlp-traces-endpoint", URL], &vars).expect("good");
        assert_eq!(settings.tracing, None);
        assert_eq!(
            settings.warnings,
            [format!("OTEL_SDK_DISABLED is true: no traces are sent to {URL}")]
        );
    }
    for value in ["1", "yes", "", "false"] {
        quiet(&[("OTEL_SDK_DISABLED", value)]);
    }
}

#[test]
fn levels() {
    let level = |args: &[&str], var: &str| {
        let args = [&["m", "--otlp-traces-endpoint", URL], args].concat();
        let settings = resolved(&args, &[("GLASSBOX_TRACE_LEVEL", var)]).expect("good");
        (settings.tracing.expect("on").level, settings.warnings.len())
    };
    let detailed = &["--collect-detailed-traces", "model", "worker"][..];
    assert_eq!(level(&[], ""), (TraceLevel::Phases, 0));
    assert_eq!(level(&[], "request"), (TraceLevel::Request, 0));
    assert_eq!(level(&["--glassbox-trace-level=phases"], "steps"), (TraceLevel::Phases, 0));
    assert_eq!(level(&["--glassbox-trace-level=steps"], ""), (TraceLevel::Steps, 0));
    assert_eq!(level(detailed, "request"), (TraceLevel::Steps, 0));
    let both = [detailed, &["--glassbox-trace-level=request"]].concat();
    assert_eq!(level(&both, ""), (TraceLevel::Request, 1));
    assert!(refused(&[("GLASSBOX_TRACE_LEVEL", "all")]).starts_with("GLASSBOX_TRACE_LEVEL must"));
    assert_eq!(
        resolved(&["m", "--collect-detailed-traces", "all"], &[]).expect_err("no endpoint"),
        "collect_detailed_traces requires `--otlp-traces-endpoint` to be set."
    );
    resolved(&["m", "--collect-detailed-traces="], &[]).expect("nothing asked for");
    let words = ["m", "--collect-detailed-traces", "model,worker"].map(str::to_owned);
    assert!(grammar::parse(&SERVE, &words).is_err(), "vLLM takes words, no list");
}

#[test]
fn protocols() {
    let name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    assert_eq!(quiet(&[(name, "http/protobuf")]).exporter.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(quiet(&[(name, "grpc")]).exporter.protocol, OtlpProtocol::Grpc);
    for bad in ["http/json", "", "GRPC"] {
        let wanted = format!("Unsupported OTLP protocol '{bad}' is configured");
        assert_eq!(refused(&[(name, bad)]), wanted);
    }
    let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert_eq!(warned(&[general], general.0).exporter.protocol, OtlpProtocol::Grpc);
    quiet(&[general, (name, "http/protobuf")]);
}

#[test]
fn what_vllm_does_not_read_is_said() {
    warned(&[("OTEL_TRACES_EXPORTER", "none")], "OTEL_TRACES_EXPORTER is not read");
    quiet(&[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")]);
    warned(&[("OTEL_EXPORTER_OTLP_INSECURE", "false")], "OTEL_EXPORTER_OTLP_INSECURE=false is not");
    let vars = [("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")];
    let settings = resolved(&["m", "--otlp-traces-endpoint=HTTPS://c:1"], &vars).expect("good");
    assert!(settings.warnings[0].ends_with("HTTPS://c:1 means encrypted"), "{settings:?}");
}

#[test]
fn the_traces_form_of_a_variable_wins() {
    let settings = quiet(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.5"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/traces-ca"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert"),
    ]);
    let exporter = settings.exporter;
    assert_eq!(exporter.timeout, Duration::from_millis(500));
    assert_eq!(exporter.headers, [("b".to_owned(), "2".to_owned())]);
    assert_eq!(exporter.compression, Compression::Gzip);
    let path = |path: &str| Some(PathBuf::from(path));
    let tls = TlsFiles {
        certificate: path("/traces-ca"),
        client_key: path("/key"),
        client_certificate: path("/cert"),
    };
    assert_eq!(exporter.tls, tls);
}

#[test]
fn timeouts_are_in_seconds() {
    let name = "OTEL_EXPORTER_OTLP_TIMEOUT";
    let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
    let seconds = |settings: TracingSettings| settings.exporter.timeout.as_secs_f64();
    assert_eq!(seconds(quiet(&[(name, "2.5")])), 2.5);
    let zero = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0");
    assert_eq!(seconds(quiet(&[(name, "7"), zero])), 7.0);
    assert_eq!(seconds(quiet(&[(name, "0")])), 10.0);
    assert_eq!(seconds(warned(&[(name, "10000")], "OTEL_EXPORTER_OTLP_TIMEOUT is in sec")), 1e4);
    for bad in ["x", "-1", "inf", "nan"] {
        assert!(refused(&[(name, bad)]).starts_with("OTEL_EXPORTER_OTLP_TIMEOUT must be"));
        let start = "OTEL_EXPORTER_OTLP_TIMEOUT is not a number of seconds";
        assert_eq!(seconds(warned(&[(name, bad), http], start)), 10.0);
    }
    let bound = "OTEL_BSP_EXPORT_TIMEOUT";
    assert_eq!(seconds(quiet(&[(bound, "1500")])), 1.5);
    assert_eq!(seconds(quiet(&[(bound, "30000")])), 10.0);
    assert_eq!(seconds(warned(&[(bound, "x")], bound)), 10.0);
}

#[test]
fn compressions() {
    let name = "OTEL_EXPORTER_OTLP_COMPRESSION";
    let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
    assert_eq!(quiet(&[(name, " gzip ")]).exporter.compression, Compression::Gzip);
    assert_eq!(quiet(&[(name, "none")]).exporter.compression, Compression::None);
    assert!(refused(&[(name, "deflate")]).starts_with(name));
    assert_eq!(quiet(&[(name, "deflate"), http]).exporter.compression, Compression::Deflate);
    let none = warned(&[(name, "zstd"), http], name).exporter.compression;
    assert_eq!(none, Compression::None);
}

#[test]
fn headers_are_decoded_and_lower_case() {
    let headers = |text: &str| quiet(&[("OTEL_EXPORTER_OTLP_HEADERS", text)]).exporter.headers;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        headers(" Api-Key = a%20b%3D , x=1=2 ,, x=3"),
        [pair("api-key", "a b="), pair("x", "3")]
    );
    // A space says that nothing is encoded.
    assert_eq!(headers("Authorization=Bearer a%20b"), [pair("authorization", "Bearer a%20b")]);
    assert_eq!(headers("a="), [pair("a", "")]);
    for bad in ["novalue", "=x", "a b=1", "a=\"q\"", "a=b;c"] {
        let vars = [("OTEL_EXPORTER_OTLP_HEADERS", bad)];
        let settings = warned(&vars, "OTEL_EXPORTER_OTLP_HEADERS: item 1 is not name=value");
        assert!(settings.exporter.headers.is_empty());
    }
}

#[test]
fn samplers() {
    let sampler = |name, arg: &str| {
        quiet(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler
    };
    let is = |parent_based, root| SamplerSettings { parent_based, root };
    assert_eq!(sampler("always_on", ""), is(false, RootSampler::AlwaysOn));
    assert_eq!(sampler("ALWAYS_OFF", ""), is(false, RootSampler::AlwaysOff));
    assert_eq!(sampler("parentbased_always_on", "0.1"), is(true, RootSampler::AlwaysOn));
    assert_eq!(sampler("parentbased_always_off", ""), is(true, RootSampler::AlwaysOff));
    assert_eq!(sampler("traceidratio", " 0.25 "), is(false, RootSampler::Ratio(0.25)));
    assert_eq!(sampler("parentbased_traceidratio", "1"), is(true, RootSampler::Ratio(1.0)));
    assert_eq!(sampler("", ""), SamplerSettings::default());
    for bad in ["", "x", "-0.1", "1.1", "nan"] {
        let vars = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", bad)];
        let settings = warned(&vars, "OTEL_TRACES_SAMPLER_ARG is not a number in [0, 1]");
        assert_eq!(settings.sampler, is(false, RootSampler::Ratio(1.0)));
    }
    for bad in ["jaeger_remote", "parentbased_jaeger_remote", "parentbased_"] {
        let settings = warned(&[("OTEL_TRACES_SAMPLER", bad)], "OTEL_TRACES_SAMPLER=");
        assert_eq!(settings.sampler, SamplerSettings::default());
    }
}

#[test]
fn batches() {
    let [queue, batch, delay] = ["MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "SCHEDULE_DELAY"]
        .map(|end| format!("OTEL_BSP_{end}"));
    let settings = quiet(&[(&queue, "10"), (&batch, "10"), (&delay, "1")]).batch;
    let wanted = BatchSettings {
        max_queue_size: 10,
        max_batch_size: 10,
        schedule_delay: Duration::from_millis(1),
    };
    assert_eq!(settings, wanted);
    for name in [&queue, &batch, &delay] {
        assert_eq!(warned(&[(name, "many")], name).batch, BatchSettings::default());
        for bad in ["0", "-1"] {
            assert!(refused(&[(name, bad)]).starts_with(name.as_str()));
        }
    }
    assert!(refused(&[(&queue, "511")]).ends_with("512 is more than 511"));
}

#[test]
fn limits() {
    assert_eq!(quiet(&[]).limits, SpanLimits::default());
    let settings = quiet(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "7"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "9"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", " 3 "),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", ""),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    ]);
    let wanted = SpanLimits {
        attributes: Some(9),
        events: Some(3),
        links: None,
        event_attributes: Some(7),
        link_attributes: Some(0),
        value_length: None,
        inner_value_length: Some(64),
    };
    assert_eq!(settings.limits, wanted);
    assert_eq!(quiet(&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")]).limits.value_length, Some(5));
    for bad in ["-1", "X", "1.5"] {
        let wanted = format!(
            "OTEL_SPAN_EVENT_COUNT_LIMIT must be a non-negative integer but got {}",
            bad.to_lowercase()
        );
        assert_eq!(refused(&[("OTEL_SPAN_EVENT_COUNT_LIMIT", bad)]), wanted);
    }
}

#[test]
fn resources() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = quiet(&[
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "k8s.pod.name = a%20b%2Cc ,service.name=x,e=,=".trim_end_matches(",="),
        ),
        ("OTEL_SERVICE_NAME", "vllm"),
    ]);
    let wanted = [
        pair("k8s.pod.name", "a b,c"),
        pair("service.name", "x"),
        pair("e", ""),
        pair("service.name", "vllm"),
    ];
    assert_eq!(settings.resource, wanted);
    let vars = [("OTEL_RESOURCE_ATTRIBUTES", "a,b=1")];
    let settings = warned(&vars, "OTEL_RESOURCE_ATTRIBUTES: 'a' is not key=value");
    assert_eq!(settings.resource, [pair("b", "1")]);
}

#[test]
fn propagators() {
    let reads = |text| quiet(&[("OTEL_PROPAGATORS", text)]).read_parent;
    assert!(reads("tracecontext,baggage") && reads("") && reads(" tracecontext "));
    assert!(!reads("none") && !reads("baggage") && !reads("tracecontext, NONE"));
    let b3 = warned(&[("OTEL_PROPAGATORS", "tracecontext,b3")], "OTEL_PROPAGATORS: b3 is not");
    assert!(b3.read_parent);
    assert!(!warned(&[("OTEL_PROPAGATORS", "b3multi")], "OTEL_PROPAGATORS: b3multi").read_parent);
}

#[test]
fn the_process_may_have_a_parent() {
    let parent = |vars: &[(&str, &str)]| quiet(vars).process_parent;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(parent(&[("TRACEPARENT", "a"), ("TRACESTATE", "b")]), (text("a"), text("b")));
    let both = [("TRACEPARENT", "a"), ("traceparent", "c"), ("tracestate", "d")];
    assert_eq!(parent(&both), (text("c"), text("d")));
}

proptest! {
    #[test]
    fn any_variable_gives_settings_or_one_sentence(
        name in prop::sample::select(vec![
            "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_PROPAGATORS",
            "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_TRACES_SAMPLER",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
        ]),
        value in "[ -~é%=,]{0,40}",
    ) {
        match resolved(&["m", "--otlp-traces-endpoint", URL], &[(name, value.as_str())]) {
            Ok(settings) => prop_assert!(settings.tracing.is_some()),
            Err(error) => prop_assert!(!error.is_empty() && !error.contains('\n')),
        }
    }

    #[test]
    fn percent_encoding_is_undone(text in "\\PC{0,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(exporter::unquote(&encoded), text);
    }
}
