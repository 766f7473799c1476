//! The fields of vLLM's `KVTransferConfig`, with the words of its validation.

use super::{KvRole, LoadFailurePolicy};
use crate::config::python;
use serde_json::{Map, Value as Json};

/// What was given, checked by itself.
#[derive(Debug)]
pub(super) struct Fields {
    pub kv_connector: Option<String>,
    pub engine_id: Option<String>,
    pub kv_buffer_device: Option<String>,
    pub kv_role: Option<KvRole>,
    pub kv_connector_extra_config: Map<String, Json>,
    pub kv_connector_module_path: Option<String>,
    pub kv_load_failure_policy: LoadFailurePolicy,
}

/// All of them; two mean nothing here, as nothing to vLLM's NixlConnector: `kv_port`, and
/// `enable_permute_local_kv` between blocks that lie alike.
const FIELDS: [&str; 9] = [
    "kv_connector",
    "engine_id",
    "kv_buffer_device",
    "kv_role",
    "kv_port",
    "kv_connector_extra_config",
    "kv_connector_module_path",
    "enable_permute_local_kv",
    "kv_load_failure_policy",
];

impl Fields {
    pub fn read(config: &Map<String, Json>) -> Result<Self, String> {
        if let Some(unknown) = config.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(format!("{unknown}: Unexpected keyword argument"));
        }
        integer(config, "kv_port")?;
        boolean(config, "enable_permute_local_kv")?;
        let role = match optional_text(config, "kv_role", ROLE)?.as_deref() {
            None => None,
            Some("kv_producer") => Some(KvRole::Producer),
            Some("kv_consumer") => Some(KvRole::Consumer),
            Some("kv_both") => Some(KvRole::Both),
            Some(_) => return Err(format!("kv_role: {ROLE}")),
        };
        let connector = optional_text(config, "kv_connector", STRING)?;
        if connector.is_some() && role.is_none() {
            return Err("Please specify kv_role when kv_connector is set, supported roles are \
                        ('kv_producer', 'kv_both', 'kv_consumer')"
                .to_owned());
        }
        Ok(Self {
            kv_connector: connector,
            engine_id: optional_text(config, "engine_id", STRING)?,
            kv_buffer_device: match config.get("kv_buffer_device") {
                Some(Json::Null) => return Err(format!("kv_buffer_device: {STRING}")),
                _ => optional_text(config, "kv_buffer_device", STRING)?,
            },
            kv_role: role,
            kv_connector_extra_config: match config.get("kv_connector_extra_config") {
                None => Map::new(),
                Some(Json::Object(extra)) => extra.clone(),
                Some(_) => {
                    return Err("kv_connector_extra_config: Input should be an object".to_owned());
                }
            },
            kv_connector_module_path: optional_text(config, "kv_connector_module_path", STRING)?,
            kv_load_failure_policy: match config.get("kv_load_failure_policy") {
                None => LoadFailurePolicy::Fail,
                Some(Json::String(policy)) if policy == "fail" => LoadFailurePolicy::Fail,
                Some(Json::String(policy)) if policy == "recompute" => LoadFailurePolicy::Recompute,
                Some(_) => {
                    return Err(
                        "kv_load_failure_policy: Input should be 'recompute' or 'fail'".to_owned()
                    );
                }
            },
        })
    }
}

const STRING: &str = "Input should be a valid string";
const ROLE: &str = "Input should be 'kv_producer', 'kv_both' or 'kv_consumer'";

fn optional_text(
    config: &Map<String, Json>,
    name: &str,
    wrong: &str,
) -> Result<Option<String>, String> {
    match config.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name}: {wrong}")),
    }
}

/// pydantic's integers: texts and whole floats too.
fn integer(config: &Map<String, Json>, name: &str) -> Result<(), String> {
    match config.get(name) {
        None => Ok(()),
        Some(Json::Number(number)) if number.as_f64().is_none_or(|n| n.fract() == 0.0) => Ok(()),
        Some(Json::Number(_)) => Err(format!(
            "{name}: Input should be a valid integer, got a number with a fractional part"
        )),
        Some(Json::Bool(_)) => Ok(()),
        Some(Json::String(text)) if python::int(text).is_some() => Ok(()),
        Some(Json::String(_)) => Err(format!(
            "{name}: Input should be a valid integer, unable to parse string as an integer"
        )),
        Some(_) => Err(format!("{name}: Input should be a valid integer")),
    }
}

/// pydantic's booleans: their names and numbers too.
fn boolean(config: &Map<String, Json>, name: &str) -> Result<(), String> {
    const NAMES: [&str; 12] =
        ["0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"];
    match config.get(name) {
        None | Some(Json::Bool(_)) => Ok(()),
        Some(Json::Number(number)) if [Some(0.0), Some(1.0)].contains(&number.as_f64()) => Ok(()),
        Some(Json::String(text)) if NAMES.contains(&text.to_lowercase().as_str()) => Ok(()),
        Some(Json::Number(_) | Json::String(_)) => {
            Err(format!("{name}: Input should be a valid boolean, unable to interpret input"))
        }
        Some(_) => Err(format!("{name}: Input should be a valid boolean")),
    }
}
