//! Cross-origin requests of browsers, answered as Starlette does.

use super::respond;
use crate::config::CorsSettings;
use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

const ALL_METHODS: [&str; 8] =
    ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"];
/// What any page may send.
const SAFELISTED: [&str; 4] = ["Accept", "Accept-Language", "Content-Language", "Content-Type"];
const PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, \
                              Access-Control-Request-Headers, \
                              Access-Control-Request-Private-Network";

/// What is said to which page; worked out once.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<String>,
    all_origins: bool,
    methods: Vec<String>,
    /// In lower case.
    headers: Vec<String>,
    all_headers: bool,
    credentials: bool,
    preflight: HeaderMap,
}

impl Cors {
    /// For these settings.
    pub fn new(settings: &CorsSettings) -> Self {
        let has_all = |list: &[String]| list.iter().any(|item| item == "*");
        let (all_origins, all_headers) = (has_all(&settings.origins), has_all(&settings.headers));
        let methods = match has_all(&settings.methods) {
            true => ALL_METHODS.map(str::to_owned).to_vec(),
            false => settings.methods.clone(),
        };
        let mut headers = SAFELISTED.map(str::to_owned).to_vec();
        headers.extend(settings.headers.iter().cloned());
        headers.sort_unstable();
        headers.dedup();
        let mut preflight = HeaderMap::new();
        preflight.insert(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        if all_origins && !settings.credentials {
            preflight.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        insert(&mut preflight, ACCESS_CONTROL_ALLOW_METHODS, &methods.join(", "));
        preflight.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if !all_headers {
            insert(&mut preflight, ACCESS_CONTROL_ALLOW_HEADERS, &headers.join(", "));
        }
        if settings.credentials {
            preflight.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Self {
            origins: settings.origins.clone(),
            all_origins,
            methods,
            headers: headers.iter().map(|name| name.to_lowercase()).collect(),
            all_headers,
            credentials: settings.credentials,
            preflight,
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.all_origins || self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    }

    /// The answer to a question of what is allowed; `None` for any other request.
    pub fn preflight(&self, method: &Method, asked: &HeaderMap) -> Option<Response<Body>> {
        let origin = asked.get(ORIGIN).filter(|_| method == Method::OPTIONS)?;
        let wanted = asked.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut headers = self.preflight.clone();
        let mut refused = Vec::new();
        if !self.allows(origin) {
            refused.push("origin");
        } else if !self.all_origins || self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if !self.methods.iter().any(|method| method.as_bytes() == wanted.as_bytes()) {
            refused.push("method");
        }
        if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            if self.all_headers {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            } else if !self.allows_headers(wanted) {
                refused.push("headers");
            }
        }
        if asked.contains_key(PRIVATE_NETWORK) {
            refused.push("private-network");
        }
        let (status, text) = match refused.is_empty() {
            true => (StatusCode::OK, "OK".to_owned()),
            false => (StatusCode::BAD_REQUEST, format!("Disallowed CORS {}", refused.join(", "))),
        };
        let mut response = respond::text(status, text);
        response.headers_mut().extend(headers);
        Some(response)
    }

    fn allows_headers(&self, wanted: &HeaderValue) -> bool {
        let wanted = String::from_utf8_lossy(wanted.as_bytes()).to_lowercase();
        wanted.split(',').all(|name| self.headers.iter().any(|known| known == name.trim()))
    }

    /// Adds to any other reply what its page may know.
    pub fn allow(&self, asked: Option<&HeaderValue>, reply: &mut HeaderMap) {
        let Some(origin) = asked else {
            reply.insert(VARY, HeaderValue::from_static("Origin"));
            return;
        };
        if self.credentials {
            reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if self.all_origins && !self.credentials {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if self.allows(origin) {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        reply.insert(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Adds a header of what the operator has written; what no header can hold is left out.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
