//! Who sends: the resource, with the keys that vLLM's has.

use crate::types::uuid4;
use opentelemetry::KeyValue;
use opentelemetry_proto::transform::common::tonic::{Attributes, ResourceAttributesWithSchema};
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};

const SERVICE_NAME: &str = "service.name";
/// The process that finishes requests, in vLLM.
const MODULE: &str = "vllm.llm_engine";

/// From weak to strong: what the SDK says of itself, an id for this process, what the user says,
/// what vLLM adds.
pub(super) fn resource(user: &[(String, String)]) -> ResourceAttributesWithSchema {
    let mut all: Vec<KeyValue> = TelemetryResourceDetector
        .detect()
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    all.push(KeyValue::new("service.instance.id", uuid4()));
    all.extend(user.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    all.push(KeyValue::new("vllm.instrumenting_module_name", MODULE));
    all.push(KeyValue::new("vllm.process_id", std::process::id().to_string()));
    let mut attributes: Vec<KeyValue> = Vec::with_capacity(all.len() + 1);
    for attribute in all {
        attributes.retain(|known| known.key != attribute.key);
        attributes.push(attribute);
    }
    attributes.retain(|known| known.key.as_str() != SERVICE_NAME || known.value.as_str() != "");
    if !attributes.iter().any(|known| known.key.as_str() == SERVICE_NAME) {
        attributes.push(KeyValue::new(SERVICE_NAME, default_service_name()));
    }
    ResourceAttributesWithSchema { attributes: Attributes::from(attributes), schema_url: None }
}

fn default_service_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    name.map_or_else(|| "unknown_service".to_owned(), |name| format!("unknown_service:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn built(user: &[(&str, &str)]) -> BTreeMap<String, String> {
        let user: Vec<_> = user.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let text = |value: &opentelemetry_proto::tonic::common::v1::AnyValue| match &value.value {
            Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) => {
                text.clone()
            }
            other => panic!("{other:?}"),
        };
        let attributes = resource(&user).attributes.0;
        let count = attributes.len();
        let map: BTreeMap<_, _> = attributes
            .into_iter()
            .map(|attribute| (attribute.key, text(&attribute.value.expect("a value"))))
            .collect();
        assert_eq!(map.len(), count, "keys stand once");
        map
    }

    #[test]
    fn vllm_has_these_keys() {
        let found = built(&[("service.name", "vllm"), ("k8s.pod.name", "p")]);
        let process = std::process::id().to_string();
        for (key, value) in [
            ("service.name", "vllm"),
            ("k8s.pod.name", "p"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "opentelemetry"),
            ("vllm.instrumenting_module_name", "vllm.llm_engine"),
            ("vllm.process_id", &process),
        ] {
            assert_eq!(found[key], value, "{key}");
        }
        assert!(found["telemetry.sdk.version"].starts_with("0."));
        let id = &found["service.instance.id"];
        assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
        assert!(["8", "9", "a", "b"].contains(&&id[19..20]), "{id}");
    }

    #[test]
    fn the_last_and_the_strongest_win() {
        let found = built(&[
            ("service.name", "a"),
            ("service.name", "b"),
            ("service.instance.id", "mine"),
            ("telemetry.sdk.name", "other"),
            ("vllm.process_id", "1"),
        ]);
        assert_eq!(found["service.name"], "b");
        assert_eq!(found["service.instance.id"], "mine");
        assert_eq!(found["telemetry.sdk.name"], "other");
        assert_eq!(found["vllm.process_id"], std::process::id().to_string());
        for nameless in [&[][..], &[("service.name", "")]] {
            let name = &built(nameless)["service.name"];
            assert!(name.starts_with("unknown_service:glassbox"), "{name}");
        }
    }
}
