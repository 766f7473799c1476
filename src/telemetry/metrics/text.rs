//! The two texts in which metrics are exposed: Prometheus' own, as its Python client writes it,
//! and OpenMetrics. Both have the same samples under the same names.

use crate::config::repr_float;
use crate::types::{Exemplar, Histogram};
use std::fmt::Write;

/// The text of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 1.0.0 (0.0.4 does not differ for what is shown here).
    Plain,
    /// OpenMetrics 1.0.0, the one with exemplars.
    OpenMetrics,
}

/// Label names and values, in the order of the names.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// One series of a counter.
pub struct Counted<'a> {
    pub labels: Labels<'a>,
    pub value: f64,
    /// Seconds since the epoch at which it was 0.
    pub created: f64,
}

/// One series of a histogram.
pub struct Measured<'a> {
    pub labels: Labels<'a>,
    pub histogram: &'a Histogram,
    pub created: f64,
}

/// One series of a summary without quantiles.
pub struct Summed<'a> {
    pub labels: Labels<'a>,
    pub count: u64,
    pub sum: f64,
    pub created: f64,
}

/// An exposition in the making.
pub struct Page {
    format: Format,
    out: String,
}

impl Page {
    /// Nothing yet.
    pub fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(64 << 10) }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn head(&mut self, name: &str, suffix: &str, help: &str, kind: &str) {
        debug_assert!(!help.contains(['\\', '\n', '"']), "a help text that wants escapes: {help}");
        for part in ["# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix, " ", kind] {
            self.out.push_str(part);
        }
        self.out.push('\n');
    }

    /// A family of values that go up and down.
    pub fn gauge(&mut self, name: &str, help: &str, samples: &[(Labels, f64)]) {
        self.head(name, "", help, "gauge");
        for (labels, value) in samples {
            self.sample(name, "", labels, *value);
        }
    }

    /// The family of `name_total`.
    pub fn counter(&mut self, name: &str, help: &str, series: &[Counted]) {
        match self.format {
            Format::Plain => self.head(name, "_total", help, "counter"),
            Format::OpenMetrics => self.head(name, "", help, "counter"),
        }
        for one in series {
            self.sample(name, "_total", one.labels, one.value);
            self.created_within(name, one.labels, one.created);
        }
        let created = series.iter().map(|one| (one.labels, one.created));
        self.created_after(name, help, created);
    }

    /// A counter of which nobody knows when it was 0.
    pub fn old_counter(&mut self, name: &str, help: &str, value: f64) {
        match self.format {
            Format::Plain => self.head(name, "_total", help, "counter"),
            Format::OpenMetrics => self.head(name, "", help, "counter"),
        }
        self.sample(name, "_total", &[], value);
    }

    /// A family of histograms.
    pub fn histogram(&mut self, name: &str, help: &str, series: &[Measured]) {
        self.head(name, "", help, "histogram");
        for one in series {
            self.buckets(name, one.labels, one.histogram);
            self.created_within(name, one.labels, one.created);
        }
        let created = series.iter().map(|one| (one.labels, one.created));
        self.created_after(name, help, created);
    }

    fn buckets(&mut self, name: &str, labels: Labels, histogram: &Histogram) {
        let mut count = 0;
        // `le` stands where its name belongs among the labels.
        let place = labels.partition_point(|(label, _)| *label < "le");
        for bucket in histogram.buckets() {
            self.out.push_str(name);
            self.out.push_str("_bucket{");
            for label in &labels[..place] {
                self.label(label);
                self.out.push(',');
            }
            self.out.push_str("le=\"");
            number(&mut self.out, bucket.bound);
            self.out.push('"');
            for label in &labels[place..] {
                self.out.push(',');
                self.label(label);
            }
            self.out.push_str("} ");
            number(&mut self.out, bucket.count as f64);
            if let (Format::OpenMetrics, Some(exemplar)) = (self.format, bucket.exemplar) {
                self.exemplar(&exemplar);
            }
            self.out.push('\n');
            count = bucket.count;
        }
        self.sample(name, "_count", labels, count as f64);
        self.sample(name, "_sum", labels, histogram.sum());
    }

    /// A family of counts and sums.
    pub fn summary(&mut self, name: &str, help: &str, series: &[Summed]) {
        self.head(name, "", help, "summary");
        for one in series {
            self.sample(name, "_count", one.labels, one.count as f64);
            self.sample(name, "_sum", one.labels, one.sum);
            self.created_within(name, one.labels, one.created);
        }
        let created = series.iter().map(|one| (one.labels, one.created));
        self.created_after(name, help, created);
    }

    /// OpenMetrics has the time of creation among a series' samples.
    fn created_within(&mut self, name: &str, labels: Labels, created: f64) {
        if self.format == Format::OpenMetrics {
            self.sample(name, "_created", labels, created);
        }
    }

    /// Prometheus' text has the times of creation in a family of their own, unless it is empty.
    fn created_after<'a>(
        &mut self,
        name: &str,
        help: &str,
        created: impl ExactSizeIterator<Item = (Labels<'a>, f64)>,
    ) {
        if self.format == Format::Plain && created.len() > 0 {
            self.head(name, "_created", help, "gauge");
            created.for_each(|(labels, created)| self.sample(name, "_created", labels, created));
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels, value: f64) {
        debug_assert!(labels.is_sorted(), "{name}: {labels:?}");
        self.out.push_str(name);
        self.out.push_str(suffix);
        for (i, label) in labels.iter().enumerate() {
            self.out.push(if i == 0 { '{' } else { ',' });
            self.label(label);
        }
        self.out.push_str(if labels.is_empty() { " " } else { "} " });
        number(&mut self.out, value);
        self.out.push('\n');
    }

    fn label(&mut self, (name, value): &(&str, &str)) {
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape(&mut self.out, value);
        self.out.push('"');
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let Exemplar { span, value, time } = exemplar;
        // Writing to a string cannot fail.
        let _ = write!(
            self.out,
            " # {{span_id=\"{:016x}\",trace_id=\"{:032x}\"}} ",
            span.span_id, span.trace_id
        );
        number(&mut self.out, *value);
        let _ = write!(self.out, " {time:.3}");
    }
}

/// Appends a label's value as it stands between quotes.
fn escape(out: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '\n', '"']) {
        match part.as_bytes() {
            [text @ .., b'\\' | b'\n' | b'"'] => {
                out.push_str(&part[..text.len()]);
                out.push_str(match part.as_bytes()[text.len()] {
                    b'\\' => "\\\\",
                    b'\n' => "\\n",
                    _ => "\\\"",
                });
            }
            _ => out.push_str(part),
        }
    }
}

/// Appends a value as the Python client writes it: Python's digits, but Go's switch to exponents.
fn number(out: &mut String, value: f64) {
    if (0.0..1e6).contains(&value) && value.fract() == 0.0 && value.is_sign_positive() {
        // Most values are small counts.
        let _ = write!(out, "{}.0", value as u64);
    } else if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let text = repr_float(value);
        match text.find('.') {
            Some(dot) if dot > 6 && value > 0.0 => {
                let digits = format!("{}.{}{}", &text[..1], &text[1..dot], &text[dot + 1..]);
                let _ = write!(out, "{}e+{:02}", digits.trim_end_matches(['0', '.']), dot - 1);
            }
            _ => out.push_str(&text),
        }
    }
}

#[cfg(test)]
mod tests;
