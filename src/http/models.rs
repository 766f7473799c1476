//! `GET /v1/models`.

use super::frontend::Frontend;
use super::reply::{random_id, unix_time};
use super::respond;
use axum::body::Body;
use axum::http::Response;
use serde::Serialize;

/// Lists the names that requests may ask for.
pub fn list(frontend: &Frontend) -> Response<Body> {
    let options = &frontend.options;
    let created = unix_time();
    let card = |id| Card {
        id,
        object: "model",
        created,
        owned_by: "vllm",
        root: &options.model_root,
        parent: (),
        max_model_len: options.limits.max_model_len,
        permission: [Permission::new(created)],
    };
    let data: Vec<Card<'_>> = options.served_model_names.iter().map(|name| card(name)).collect();
    respond::json(&List { object: "list", data })
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Card<'a>>,
}

#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    root: &'a str,
    parent: (),
    max_model_len: u32,
    permission: [Permission; 1],
}

#[derive(Serialize)]
struct Permission {
    id: String,
    object: &'static str,
    created: u64,
    allow_create_engine: bool,
    allow_sampling: bool,
    allow_logprobs: bool,
    allow_search_indices: bool,
    allow_view: bool,
    allow_fine_tuning: bool,
    organization: &'static str,
    group: (),
    is_blocking: bool,
}

impl Permission {
    fn new(created: u64) -> Self {
        Self {
            id: format!("modelperm-{}", random_id()),
            object: "model_permission",
            created,
            allow_create_engine: false,
            allow_sampling: true,
            allow_logprobs: true,
            allow_search_indices: false,
            allow_view: true,
            allow_fine_tuning: false,
            organization: "*",
            group: (),
            is_blocking: false,
        }
    }
}
