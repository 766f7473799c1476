//! `--otlp-traces-endpoint` as gRPC in Python reads it.

use ::http::uri::Authority;

/// Where to connect for gRPC: host and port, and whether by TLS. Any scheme but `https` is plain
/// text, so is none at all; what follows host and port plays no role. gRPC's own port is 443.
pub(super) fn grpc_target(endpoint: &str) -> Result<(bool, String), String> {
    let refuse = |why: &str| format!("--otlp-traces-endpoint: {endpoint} {why}");
    let (tls, target) = match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let netloc = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let path = rest.strip_prefix('/').filter(|_| scheme.eq_ignore_ascii_case("dns"));
            (scheme.eq_ignore_ascii_case("https"), path.unwrap_or(netloc))
        }
        None => (false, endpoint.strip_prefix("dns:").unwrap_or(endpoint)),
    };
    if endpoint.starts_with("unix:") {
        return Err(refuse("is a Unix socket, which is not supported: give host:port"));
    }
    let authority: Authority =
        target.parse().map_err(|_| refuse("has no host to send spans to: give host:port"))?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(refuse("is not a host and a port"));
    }
    let port = authority.as_str()[authority.host().len()..].trim_start_matches(':');
    match port {
        "" => Ok((tls, format!("{}:443", authority.host()))),
        port if port.parse::<u16>().is_ok() => Ok((tls, authority.to_string())),
        _ => Err(refuse("has no valid port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_python() {
        for (endpoint, tls, target) in [
            ("http://collector:4317", false, "collector:4317"),
            ("http://collector:4317/v1/traces?x#y", false, "collector:4317"),
            ("collector:4317", false, "collector:4317"),
            ("collector", false, "collector:443"),
            ("10.0.0.1:4317", false, "10.0.0.1:4317"),
            ("[::1]:4317", false, "[::1]:4317"),
            ("http://[::1]", false, "[::1]:443"),
            ("https://collector", true, "collector:443"),
            ("HTTPS://collector:1", true, "collector:1"),
            ("grpc://collector:4317", false, "collector:4317"),
            ("dns:///collector:4317", false, "collector:4317"),
            ("dns:collector:4317", false, "collector:4317"),
        ] {
            assert_eq!(grpc_target(endpoint), Ok((tls, target.to_owned())), "{endpoint}");
        }
        for bad in
            ["http://", "collector:4317/x", "user@c:1", "c:99999", "unix:/run/otel", "a b:1", ":1"]
        {
            let error = grpc_target(bad).expect_err(bad);
            assert!(error.starts_with(&format!("--otlp-traces-endpoint: {bad} ")), "{error}");
        }
    }
}
