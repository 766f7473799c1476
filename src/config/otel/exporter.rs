//! Where spans go and how: `OTEL_EXPORTER_OTLP_[TRACES_]*`.

use super::{Compression, ExporterSettings, OtelVars, OtlpProtocol, TlsFiles};
use crate::config::python;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// A timeout from here on was probably meant in milliseconds.
const SUSPICIOUS_TIMEOUT: Duration = Duration::from_secs(1000);

pub(super) fn read(
    endpoint: String,
    vars: &OtelVars,
    warnings: &mut Vec<String>,
) -> Result<ExporterSettings, String> {
    let protocol = protocol(vars)?;
    warn_of_unread(&endpoint, protocol, vars, warnings);
    let (_, headers) = vars.otlp("HEADERS").unwrap_or_default();
    let file = |end| vars.otlp(end).map(|(_, path)| PathBuf::from(path));
    Ok(ExporterSettings {
        endpoint,
        protocol,
        timeout: timeout(vars, protocol, warnings)?,
        headers: parse_headers(&headers, warnings),
        compression: compression(vars, protocol, warnings)?,
        tls: TlsFiles {
            certificate: file("CERTIFICATE"),
            client_key: file("CLIENT_KEY"),
            client_certificate: file("CLIENT_CERTIFICATE"),
        },
    })
}

fn protocol(vars: &OtelVars) -> Result<OtlpProtocol, String> {
    match vars.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") {
        None | Some("grpc") => Ok(OtlpProtocol::Grpc),
        Some("http/protobuf") => Ok(OtlpProtocol::HttpProtobuf),
        Some(other) => Err(format!("Unsupported OTLP protocol '{other}' is configured")),
    }
}

/// Says what vLLM does not read, where it asks for something else than what happens.
fn warn_of_unread(
    endpoint: &str,
    protocol: OtlpProtocol,
    vars: &OtelVars,
    warnings: &mut Vec<String>,
) {
    let general = vars.text("OTEL_EXPORTER_OTLP_PROTOCOL");
    if let Some(general) = general.filter(|general| general != protocol.name()) {
        warnings.push(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL={general} is not read, as in vLLM: traces go by {}; set \
             OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            protocol.name()
        ));
    }
    if let Some((name, insecure)) = vars.otlp("INSECURE") {
        let secure = endpoint.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
        if insecure.eq_ignore_ascii_case("true") == secure {
            let means = if secure { "encrypted" } else { "plain text" };
            warnings.push(format!(
                "{name}={insecure} is not read, as in vLLM: {endpoint} means {means}"
            ));
        }
    }
    if vars.text("OTEL_TRACES_EXPORTER").is_some_and(|name| name.trim() != "otlp") {
        warnings.push(
            "OTEL_TRACES_EXPORTER is not read, as in vLLM: --otlp-traces-endpoint alone decides"
                .to_owned(),
        );
    }
}

/// Seconds. Zero counts as not set. Over HTTP vLLM warns of a bad value, over gRPC it ends.
fn timeout(
    vars: &OtelVars,
    protocol: OtlpProtocol,
    warnings: &mut Vec<String>,
) -> Result<Duration, String> {
    let mut timeout = None;
    for name in ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"] {
        let Some(text) = vars.text(name) else { continue };
        let value = python::float(&text).and_then(|value| Duration::try_from_secs_f64(value).ok());
        match value {
            Some(value) if value.is_zero() => continue,
            Some(value) => {
                if value >= SUSPICIOUS_TIMEOUT {
                    warnings.push(format!("{name} is in seconds, as in vLLM: {text} s"));
                }
                timeout = Some(value);
            }
            None if protocol == OtlpProtocol::Grpc => {
                return Err(format!(
                    "{name} must be a number of seconds, not {}",
                    python::repr(&text)
                ));
            }
            None => warnings.push(format!(
                "{name} is not a number of seconds: {}. 10 seconds are used",
                python::repr(&text)
            )),
        }
        break;
    }
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    // The specification's bound in milliseconds on the same thing, here only when it is set.
    let bound = vars.int("OTEL_BSP_EXPORT_TIMEOUT", warnings).filter(|bound| *bound > 0);
    let bound = bound.map(|bound| Duration::from_millis(bound.unsigned_abs()));
    Ok(bound.map_or(timeout, |bound| timeout.min(bound)))
}

/// Over HTTP vLLM warns of a bad value, over gRPC it ends.
fn compression(
    vars: &OtelVars,
    protocol: OtlpProtocol,
    warnings: &mut Vec<String>,
) -> Result<Compression, String> {
    let Some((name, text)) = vars.otlp("COMPRESSION") else { return Ok(Compression::None) };
    let grpc = protocol == OtlpProtocol::Grpc;
    match text.trim().to_lowercase().as_str() {
        "" | "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "deflate" if !grpc => Ok(Compression::Deflate),
        _ if grpc => Err(format!("{name} must be gzip or none over gRPC, not {text}")),
        _ => {
            warnings.push(format!("{name}={text} is no compression: none is used"));
            Ok(Compression::None)
        }
    }
}

/// `name=value,…`, both percent-encoded; a value that is not encoded may hold spaces. What is
/// neither is warned about, without showing it: headers hold secrets.
fn parse_headers(text: &str, warnings: &mut Vec<String>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (at, item) in text.split(',').enumerate() {
        let item = item.trim_matches([' ', '\t']);
        if item.is_empty() {
            continue;
        }
        let pair = item
            .split_once('=')
            .map(|(name, value)| (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t'])));
        let Some((name, value)) = pair.filter(|(name, value)| is_name(name) && is_value(value))
        else {
            warnings.push(format!(
                "OTEL_EXPORTER_OTLP_HEADERS: item {} is not name=value and is left out",
                at + 1
            ));
            continue;
        };
        // With a space in it the value is not encoded, and stands for itself.
        let literal = value.contains(' ');
        let decode = |text: &str| if literal { text.to_owned() } else { unquote(text) };
        let name = decode(name).trim().to_lowercase();
        let value = decode(value).trim().to_owned();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }
    headers
}

/// A token of HTTP.
fn is_name(name: &str) -> bool {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !name.is_empty() && name.bytes().all(token)
}

/// Printable, without `"`, `,`, `;` and a backslash; spaces only inside.
fn is_value(value: &str) -> bool {
    value.bytes().all(|c| (0x20..0x7f).contains(&c) && !b"\",;\\".contains(&c))
}

/// Percent decoding as Python's `unquote`: what is no escape stays, what is no UTF-8 is replaced.
pub(super) fn unquote(text: &str) -> String {
    let hex = |c: u8| char::from(c).to_digit(16);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = match bytes[at..] {
            [b'%', high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
