//! A strict reader of both formats: it panics at whatever a scraper might stumble over.

use super::*;

/// What stands on a page.
pub struct Read {
    /// Names and labels of all samples.
    pub samples: BTreeSet<String>,
    /// Names of samples with exemplars.
    pub exemplars: BTreeSet<String>,
}

/// One family while its lines are read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    /// Bounds and counts of the histogram that is being read, and its labels.
    buckets: Vec<(f64, f64)>,
}

/// Suffixes of the samples of a family of this kind.
fn suffixes(kind: &str, format: Format) -> &'static [&'static str] {
    match (kind, format) {
        ("gauge", _) | ("counter", Format::Plain) => &[""],
        ("counter", Format::OpenMetrics) => &["_total", "_created"],
        ("histogram", Format::Plain) => &["_bucket", "_count", "_sum"],
        ("histogram", Format::OpenMetrics) => &["_bucket", "_count", "_sum", "_created"],
        ("summary", Format::Plain) => &["_count", "_sum"],
        ("summary", Format::OpenMetrics) => &["_count", "_sum", "_created"],
        _ => panic!("a family of kind {kind}"),
    }
}

pub fn check(page: &str, format: Format) -> Read {
    let mut read = Read { samples: BTreeSet::new(), exemplars: BTreeSet::new() };
    let (mut family, mut families) = (Family::default(), BTreeSet::new());
    assert!(page.ends_with('\n'));
    let mut lines = page.lines();
    if format == Format::OpenMetrics {
        assert_eq!(lines.next_back(), Some("# EOF"));
    }
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && families.insert(name.to_owned()), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (same, kind) = kind.and_then(|rest| rest.split_once(' ')).expect("a type");
            assert_eq!(name, same);
            family = Family { name: name.to_owned(), kind: kind.to_owned(), buckets: Vec::new() };
            let _ = suffixes(kind, format);
        } else {
            sample(line, &mut family, format, &mut read);
        }
    }
    read
}

fn sample(line: &str, family: &mut Family, format: Format, read: &mut Read) {
    let (line, exemplar) = match line.split_once(" # ") {
        Some((line, exemplar)) => (line, Some(exemplar)),
        None => (line, None),
    };
    let (series, text) = line.rsplit_once(' ').expect("a value");
    let value: f64 = text.parse().expect("a number");
    assert!(value.is_finite() && value >= 0.0, "{line}");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, parse(labels.strip_suffix('}').expect("a brace"))),
        None => (series, BTreeMap::new()),
    };
    let suffix = name.strip_prefix(family.name.as_str()).expect("a sample of its family");
    assert!(suffixes(&family.kind, format).contains(&suffix), "{line} in a {}", family.kind);
    assert!(read.samples.insert(series.to_owned()), "{series} stands twice");
    if family.kind == "histogram" {
        histogram(family, suffix, labels.get("le"), value);
    }
    if let Some(exemplar) = exemplar {
        assert_eq!((format, suffix), (Format::OpenMetrics, "_bucket"), "{line}");
        let (labels, rest) = exemplar[1..].split_once("} ").expect("labels");
        let labels = parse(labels);
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["span_id", "trace_id"]);
        let (value, time) = rest.split_once(' ').expect("a value and a time");
        let bound = family.buckets.last().expect("a bucket").0;
        assert!(value.parse::<f64>().expect("a number") <= bound, "{exemplar}");
        assert!(time.parse::<f64>().expect("a time") > 1e9);
        read.exemplars.insert(name.to_owned());
    }
}

fn histogram(family: &mut Family, suffix: &str, bound: Option<&String>, value: f64) {
    match suffix {
        "_bucket" => {
            let bound = bound.expect("a bound").parse().expect("a number");
            if let Some((last, count)) = family.buckets.last().filter(|last| last.0.is_finite()) {
                assert!(*last < bound && *count <= value, "{}: {bound}", family.name);
            } else {
                family.buckets.clear();
            }
            family.buckets.push((bound, value));
        }
        "_count" => {
            let last = family.buckets.last().expect("buckets before the count");
            assert_eq!(*last, (f64::INFINITY, value), "{}", family.name);
        }
        _ => assert_eq!(bound, None),
    }
}

/// Labels, which must be sorted.
fn parse(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::<String, String>::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label");
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(!name.is_empty() && name.chars().all(good), "{name}");
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("escaped {c}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.last_key_value().is_none_or(|(last, _)| last.as_str() < name), "{text}");
        labels.insert(name.to_owned(), value);
        text = &rest[end + 1..];
        if !text.is_empty() {
            text = text.strip_prefix(',').expect("a comma");
        }
    }
    labels
}
