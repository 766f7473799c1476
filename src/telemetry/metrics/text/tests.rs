use super::*;
use crate::types::SpanRef;
use proptest::prelude::*;
use std::time::Duration;

fn shown(value: f64) -> String {
    let mut out = String::new();
    number(&mut out, value);
    out
}

#[test]
fn numbers_are_those_of_the_python_client() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.5, "0.5"),
        (0.00001, "1e-05"),
        (999999.0, "999999.0"),
        (123456.5, "123456.5"),
        (1234567.0, "1.234567e+06"),
        (1000000.0, "1e+06"),
        (1732376148.125, "1.732376148125e+09"),
        (12345678901.0, "1.2345678901e+10"),
        (-1234567.0, "-1234567.0"),
        (1e16, "1e+16"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(shown(value), text);
    }
}

const CREATED: f64 = 1_732_376_148.125;

#[test]
fn counters_have_a_total_and_a_creation_time() {
    let page = |format| {
        let mut page = Page::new(format);
        let labels: [Labels; 2] = [&[("a", "x")], &[("a", "y")]];
        let series = labels.map(|labels| Counted { labels, value: 3.0, created: CREATED });
        page.counter("n", "Things.", &series);
        page.finish()
    };
    let plain = "# HELP n_total Things.\n# TYPE n_total counter\nn_total{a=\"x\"} 3.0\n\
                 n_total{a=\"y\"} 3.0\n# HELP n_created Things.\n# TYPE n_created gauge\n\
                 n_created{a=\"x\"} 1.732376148125e+09\nn_created{a=\"y\"} 1.732376148125e+09\n";
    assert_eq!(page(Format::Plain), plain);
    let open = "# HELP n Things.\n# TYPE n counter\nn_total{a=\"x\"} 3.0\n\
                n_created{a=\"x\"} 1.732376148125e+09\nn_total{a=\"y\"} 3.0\n\
                n_created{a=\"y\"} 1.732376148125e+09\n# EOF\n";
    assert_eq!(page(Format::OpenMetrics), open);
}

#[test]
fn buckets_carry_exemplars_in_open_metrics_only() {
    let histogram = Histogram::of_seconds(&[0.5, 1.0]).with_exemplars();
    let span = SpanRef { trace_id: 0xab, span_id: 0xcd };
    histogram.observe_time_of(Duration::from_millis(750), Some(span));
    let page = |format| {
        let mut page = Page::new(format);
        let labels: Labels = &[("engine", "0"), ("model_name", "m")];
        let series = Measured { labels, histogram: &histogram, created: CREATED };
        page.histogram("t", "Times.", &[series]);
        page.finish()
    };
    let plain = page(Format::Plain);
    let start = "# HELP t Times.\n# TYPE t histogram\n\
                 t_bucket{engine=\"0\",le=\"0.5\",model_name=\"m\"} 0.0\n\
                 t_bucket{engine=\"0\",le=\"1.0\",model_name=\"m\"} 1.0\n\
                 t_bucket{engine=\"0\",le=\"+Inf\",model_name=\"m\"} 1.0\n\
                 t_count{engine=\"0\",model_name=\"m\"} 1.0\n\
                 t_sum{engine=\"0\",model_name=\"m\"} 0.75\n# HELP t_created";
    assert!(plain.starts_with(start), "{plain}");
    let open = page(Format::OpenMetrics);
    let exemplar = "t_bucket{engine=\"0\",le=\"1.0\",model_name=\"m\"} 1.0 # \
                    {span_id=\"00000000000000cd\",trace_id=\"000000000000000000000000000000ab\"} \
                    0.75 1";
    assert!(open.contains(exemplar), "{open}");
    assert_eq!(open.matches(" # {").count(), 1);
}

proptest! {
    #[test]
    fn numbers_read_back_as_they_were(value in any::<f64>().prop_filter("NaN", |v| !v.is_nan())) {
        prop_assert_eq!(shown(value).parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
    }

    #[test]
    fn small_counts_are_plain(value in 0u32..1_000_000) {
        prop_assert_eq!(shown(f64::from(value)), format!("{value}.0"));
    }

    #[test]
    fn labels_read_back_as_they_were(value in "(\\PC|[\\\\\n\"])*") {
        let mut out = String::new();
        escape(&mut out, &value);
        prop_assert!(!out.contains('\n'));
        let (mut back, mut rest) = (String::new(), out.chars());
        while let Some(c) = rest.next() {
            prop_assert_ne!(c, '"');
            match c {
                '\\' => back.push(match rest.next() {
                    Some('n') => '\n',
                    Some(escaped @ ('\\' | '"')) => escaped,
                    other => return Err(TestCaseError::fail(format!("escaped {other:?}"))),
                }),
                c => back.push(c),
            }
        }
        prop_assert_eq!(back, value);
    }
}
