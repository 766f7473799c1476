//! Loading and unloading adapters while the server runs (VLLM_ALLOW_RUNTIME_LORA_UPDATING): what a
//! vLLM answers that was started without `--enable-lora`, under its own names and SageMaker's.

use super::body::read;
use super::frontend::Frontend;
use super::json::{self, Json};
use super::request::Fields;
use super::routes::POST;
use super::schema::{ObjectKind, Schema, coerce, optional, required, validate};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Response};
use serde_json::{Value, json};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapters {
    Load,
    Unload,
    Register,
    Unregister,
}

/// A path, the methods it takes, and what they do.
type Route = (&'static str, &'static [Method], Adapters);

/// All of them.
pub const ROUTES: [Route; 4] = [
    ("/v1/load_lora_adapter", POST, Adapters::Load),
    ("/v1/unload_lora_adapter", POST, Adapters::Unload),
    ("/adapters", POST, Adapters::Register),
    NAMED,
];

const NAMED: Route = ("/adapters/{adapter_name}", &[Method::DELETE], Adapters::Unregister);

/// The name in a path, as it is written there, and the route that such paths lead to.
pub fn route(path: &str) -> Option<(&str, Route)> {
    let name = path.strip_prefix("/adapters/")?;
    let has_slash = name.contains('/') || name.to_ascii_lowercase().contains("%2f");
    (!name.is_empty() && !has_slash).then_some((name, NAMED))
}

const LOAD: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("lora_name", &Schema::Str),
        required("lora_path", &Schema::Str),
        optional("load_inplace", &Schema::Bool),
        optional("is_3d_lora_weight", &Schema::Bool),
    ],
};

const UNLOAD: Schema = Schema::Object {
    kind: ObjectKind::Model,
    fields: &[
        required("lora_name", &Schema::Str),
        optional("lora_int_id", &Schema::Nullable(&super::schema::INT)),
    ],
};

/// Answers at one of the paths; there is nothing that could be loaded, so each answer is an error.
pub fn answer(
    frontend: &Frontend,
    asked: Adapters,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let checked = |check: fn(Json) -> Result<Json, ApiError>| {
        let (body, surrogates) = read(headers, body, check)?;
        surrogates.map(|()| body)
    };
    let text = |body: &Json, name: &str| {
        body.as_dict().and_then(|data| Fields(data).string(name)).unwrap_or_default()
    };
    match asked {
        Adapters::Load => {
            let body = checked(|body| validate(&LOAD, &body).map(|()| body))?;
            Err(load(frontend, &text(&body, "lora_name"), &text(&body, "lora_path")))
        }
        Adapters::Unload => {
            let name = text(&checked(|body| validate(&UNLOAD, &body).map(|()| body))?, "lora_name");
            Err(match name.is_empty() {
                true => ApiError::invalid_user_input(
                    "'lora_name' needs to be provided to unload a LoRA adapter.",
                ),
                false => unknown(&name),
            })
        }
        Adapters::Register => {
            let (name, source) = registration(body)?;
            Err(load(frontend, &name, &source))
        }
        Adapters::Unregister => Err(unknown(&unquoted(route(path).map_or("", |(name, _)| name)))),
    }
}

/// Why an adapter cannot be loaded.
fn load(frontend: &Frontend, name: &str, path: &str) -> ApiError {
    if name.is_empty() || path.is_empty() {
        let message = "Both 'lora_name' and 'lora_path' must be provided.";
        return ApiError::invalid_user_input(message);
    }
    if frontend.options.served_model_names.iter().any(|served| served == name) {
        let message = format!("The lora adapter '{name}' conflicts with a served base model.");
        return ApiError::invalid_user_input(message);
    }
    ApiError::internal(
        "Call to add_lora method failed: Worker failed with error 'LoRA is not enabled. Use \
         --enable-lora to enable LoRA.', please check the stack trace above for the root cause",
    )
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("The lora adapter '{name}' cannot be found."))
}

/// The name and the source that SageMaker's body gives. vLLM shows misfits as pydantic's own JSON.
fn registration(body: &[u8]) -> Result<(String, String), ApiError> {
    let refused = |errors: Vec<Value>| Err(ApiError::http(400, Value::from(errors).to_string()));
    // What is no JSON counts as an empty text.
    let body = json::parse(body).map_or(Json::Str(String::new()), |document| document.root);
    let data = match &body {
        Json::Dict(data) => Some(data),
        Json::Str(text) if text.is_empty() => None,
        other => {
            let class = "SageMakerRegisterLoRAAdapterRequest";
            return refused(vec![json!({
                "type": "model_type",
                "loc": [],
                "msg": format!("Input should be a valid dictionary or instance of {class}"),
                "input": other.to_value(),
                "ctx": {"class_name": class},
            })]);
        }
    };
    let mut errors = Vec::new();
    let mut texts = [String::new(), String::new()];
    for (name, text) in ["name", "src"].into_iter().zip(&mut texts) {
        match data.and_then(|data| data.get(name)) {
            None => errors.push(misfit("missing", name, "Field required", &body)),
            Some(Json::Str(given)) if given.is_empty() => errors.push(empty(name)),
            Some(Json::Str(given)) => text.clone_from(given),
            Some(other) => {
                let message = "Input should be a valid string";
                errors.push(misfit("string_type", name, message, other));
            }
        }
    }
    for name in ["preload", "pin"] {
        let Some(value) = data.and_then(|data| data.get(name)) else { continue };
        let valid = "Input should be a valid boolean";
        match coerce::bool(value) {
            Ok(_) => {}
            Err(coerce::NoBool::Type) => errors.push(misfit("bool_type", name, valid, value)),
            Err(coerce::NoBool::Parsing) => {
                let message = format!("{valid}, unable to interpret input");
                errors.push(misfit("bool_parsing", name, &message, value));
            }
        }
    }
    let [name, source] = texts;
    if errors.is_empty() { Ok((name, source)) } else { refused(errors) }
}

fn misfit(kind: &str, name: &str, message: &str, input: &Json) -> Value {
    json!({"type": kind, "loc": [name], "msg": message, "input": input.to_value()})
}

fn empty(name: &str) -> Value {
    let message = format!("The parameter {name} cannot be an empty string");
    json!({
        "type": "value_error",
        "loc": [name],
        "msg": format!("Value error, {message}"),
        "input": "",
        "ctx": {"error": message},
    })
}

/// A part of a path without its percent signs, as Python's `unquote` reads it.
fn unquoted(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| first == b'%').map(hexadecimal) {
            Some(Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal(digits: &str) -> Option<u8> {
    // Rust's own reader takes a sign.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_read_as_python_reads_them() {
        for (path, name) in [
            ("a%20b", "a b"),
            ("%C3%A9", "é"),
            ("%c3", "\u{fffd}"),
            ("%zz%4", "%zz%4"),
            ("%+1", "%+1"),
            ("100%", "100%"),
            ("é%", "é%"),
        ] {
            assert_eq!(unquoted(path), name, "{path}");
        }
    }

    #[test]
    fn misfits_are_listed_in_the_order_of_the_fields() {
        let kinds = |body: &str| {
            let message = registration(body.as_bytes()).expect_err("misfits").message;
            let errors: Vec<Value> = serde_json::from_str(&message).expect("JSON");
            let of = |error: &Value| format!("{}:{}", error["loc"][0], error["type"]);
            errors.iter().map(of).collect::<Vec<_>>().join(" ").replace('"', "")
        };
        for (body, wanted) in [
            (r#"{"src":"","pin":[]}"#, "name:missing src:value_error pin:bool_type"),
            (
                r#"{"src":1,"name":"","preload":7}"#,
                "name:value_error src:string_type preload:bool_parsing",
            ),
            (r#"{"src":"","name":""}"#, "name:value_error src:value_error"),
            (r#"{"src":"","name":"a"}"#, "src:value_error"),
        ] {
            assert_eq!(kinds(body), wanted, "{body}");
        }
        let good = registration(br#"{"name":"a","src":"b","pin":"yes","preload":0}"#);
        assert_eq!(good, Ok(("a".to_owned(), "b".to_owned())));
    }
}
