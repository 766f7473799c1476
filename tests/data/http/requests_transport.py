"""Origins, keys, the root path, docs: what concerns every request. See record.py for the flags."""

from requests_base import raw

KEY = {"authorization": "Bearer secret"}
METHOD = "Access-Control-Request-Method"
HEADERS = "Access-Control-Request-Headers"
GOOD, EVIL = "http://a.example", "http://evil.example"


def preflight(name, origin, method="POST", path="/v1/chat/completions", **more):
    headers = {"Origin": origin, METHOD: method, **more}
    raw("preflight " + name, "OPTIONS", path, None, headers)


preflight("good", GOOD)
preflight("other good", "http://b.example", "GET")
preflight("evil", EVIL)
preflight("unknown method", GOOD, "FOO")
preflight("evil and unknown method", EVIL, "FOO")
preflight("headers", GOOD, **{HEADERS: "X-A, authorization"})
preflight("private network", GOOD, **{"Access-Control-Request-Private-Network": "true"})
preflight("no such path", GOOD, path="/nope")
preflight("null origin", "null")
raw("no preflight: no method asked for", "OPTIONS", "/v1/models", None, {"Origin": GOOD})
raw("no preflight: no origin", "OPTIONS", "/v1/models", None, {METHOD: "GET"})
raw("no preflight: get", "GET", "/version", None, {"Origin": GOOD, METHOD: "GET"})
for name, origin in [("good", GOOD), ("evil", EVIL)]:
    raw(f"origin {name}", "GET", "/v1/models", None, {"Origin": origin, **KEY})
    raw(f"origin {name} no key", "GET", "/v1/models", None, {"Origin": origin})
    raw(f"origin {name} no path", "GET", "/nope", None, {"Origin": origin})

for path in ["/version", "/api/version", "/apiversion", "/api", "/api/", "/api/api/version",
             "/version/", "/api/version/", "/docs/", "/api/nope", "/API/version"]:
    raw("root path " + path, "GET", path)
for path in ["/v1/models", "/api/v1/models", "/apiv1/models", "/api/v10", "/v10", "/v2/x",
             "/cohere/x", "/inference/x", "/api/inference/x", "//v1/models", "/V1/models"]:
    raw("key missing " + path, "GET", path)
    raw("key there " + path, "GET", path, None, KEY)
for name, value in [("lower", "bearer secret"), ("upper", "BEARER secret"), ("none", "Bearer"),
                    ("basic", "Basic secret"), ("wrong", "Bearer secre"), ("alone", "secret"),
                    ("twice", "Bearer secret secret"), ("two spaces", "Bearer  secret")]:
    raw("key " + name, "GET", "/v1/models", None, {"authorization": value})

for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"]:
    for path in ["/health", "/ping", "/version", "/load", "/docs", "/openapi.json", "/metrics",
                 "/nope", "/tokenize", "/kv_event_sources"]:
        if (method, path) not in [("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/docs")]:
            raw(f"{method} {path}", method, path)
