//! Weights that a trainer sends, as with a vLLM that has no `--weight-transfer-config`.

use super::super::arguments::embedded;
use super::super::frontend::Frontend;
use super::super::json::Json;
use super::super::respond;
use super::super::schema::{Field, OBJECT, Schema, optional, required};
use super::Asked;
use super::remote::worker_failed;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::Response;
use serde_json::json;
use std::sync::PoisonError;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Init,
    Shutdown,
    Start,
    StartDraft,
    Update,
    Finish,
    SetVersion,
    Version,
    Check,
}

const LIST: Schema = Schema::List { item: &Schema::Any, max: None };
const UPDATE: Schema = Schema::Union(&[("", &OBJECT), ("", &LIST)]);
const ACTION: Schema = Schema::Literal(&["checksum", "reset", "compare"]);
const BASELINE: Schema = Schema::Nullable(&Schema::Map(&Schema::Str));

impl Operation {
    fn fields(self) -> &'static [Field] {
        const INIT: &[Field] = &[required("init_info", &OBJECT)];
        const UPDATES: &[Field] = &[required("update_info", &UPDATE)];
        const FINISH: &[Field] = &[optional("weight_version", &Schema::Nullable(&Schema::Str))];
        const VERSION: &[Field] = &[required("new_version", &Schema::Str)];
        const CHECK: &[Field] = &[required("action", &ACTION), optional("baseline", &BASELINE)];
        match self {
            Self::Init => INIT,
            Self::Update => UPDATES,
            Self::Finish => FINISH,
            Self::SetVersion => VERSION,
            Self::Check => CHECK,
            Self::Shutdown | Self::Start | Self::StartDraft | Self::Version => &[],
        }
    }
}

pub fn answer(
    frontend: &Frontend,
    operation: Operation,
    asked: Asked<'_>,
) -> Result<Response<Body>, ApiError> {
    let given = match operation.fields() {
        [] => Default::default(),
        fields => embedded(asked.headers, asked.body, fields)?,
    };
    let version = || frontend.weight_version.lock().unwrap_or_else(PoisonError::into_inner);
    let text = |name: &str| given.get(name).and_then(Json::as_str);
    match operation {
        Operation::Shutdown => Ok(respond::json(&json!({"message": "Weight transfer shut down"}))),
        Operation::Version => Ok(respond::json(&json!({"weight_version": *version()}))),
        Operation::SetVersion => {
            let new = text("new_version").unwrap_or_default();
            new.clone_into(&mut version());
            Ok(respond::json(&json!({"success": true, "new_version": new})))
        }
        Operation::Check => {
            let has_baseline = given.get("baseline").is_some_and(|baseline| !baseline.is_null());
            if text("action") == Some("compare") && !has_baseline {
                let message = "action='compare' requires a 'baseline' object";
                return Err(ApiError::http(400, message));
            }
            // The checksums are of vLLM's own layout of the weights.
            Err(ApiError::not_implemented("Checking weights"))
        }
        _ => Err(worker_failed(
            "Weight transfer not configured. Please set weight_transfer_config to enable weight \
             transfer.",
        )),
    }
}
