use super::*;
use proptest::prelude::*;

fn counts(histogram: &Histogram) -> Vec<u64> {
    histogram.buckets().map(|bucket| bucket.count).collect()
}

#[test]
fn a_value_on_a_bound_is_below_it() {
    let histogram = Histogram::of_counts(&[1.0, 8.0, 16.0]);
    for value in [0, 1, 2, 8, 9, 16, 17, 1000] {
        histogram.observe(value);
    }
    assert_eq!(counts(&histogram), [2, 4, 6, 8]);
    assert_eq!(histogram.sum(), 1053.0);
    let bounds: Vec<f64> = histogram.buckets().map(|bucket| bucket.bound).collect();
    assert_eq!(bounds, [1.0, 8.0, 16.0, f64::INFINITY]);
}

#[test]
fn seconds_are_exact_to_the_nanosecond() {
    let histogram = Histogram::of_seconds(&[0.07, 0.29, 0.3]);
    for nanos in [70_000_000, 70_000_001, 290_000_000, 300_000_000, 300_000_001] {
        histogram.observe_time(Duration::from_nanos(nanos));
    }
    assert_eq!(counts(&histogram), [1, 3, 4, 5]);
    assert_eq!(histogram.sum(), 1.030_000_002);
}

#[test]
fn the_longest_time_is_no_panic() {
    let histogram = Histogram::of_seconds(&[1.0, 1e300]);
    histogram.observe_time(Duration::MAX);
    assert_eq!(counts(&histogram), [0, 1, 1]);
}

#[test]
fn a_bucket_keeps_its_latest_exemplar() {
    let histogram = Histogram::of_seconds(&[0.1, 1.0]).with_exemplars();
    let span = |id| Some(SpanRef { trace_id: u128::from(id) << 70 | 5, span_id: id });
    histogram.observe_time_of(Duration::from_millis(20), span(7));
    histogram.observe_time_of(Duration::from_millis(30), span(8));
    histogram.observe_time_of(Duration::from_millis(40), None);
    histogram.observe_time_of(Duration::from_secs(5), span(9));
    let exemplars: Vec<_> = histogram.buckets().map(|bucket| bucket.exemplar).collect();
    let seen = |i: usize| exemplars[i].map(|exemplar| (Some(exemplar.span), exemplar.value));
    assert_eq!(seen(0), Some((span(8), 0.03)));
    assert_eq!(exemplars[1], None);
    assert_eq!(seen(2), Some((span(9), 5.0)));
    assert_eq!(counts(&histogram), [3, 3, 4]);
}

#[test]
fn writers_lose_nothing_and_readers_see_whole_exemplars() {
    let histogram = Histogram::of_seconds(&[0.001]).with_exemplars();
    let (writers, each) = (4, 20_000);
    std::thread::scope(|scope| {
        for writer in 1..=writers {
            let histogram = &histogram;
            scope.spawn(move || {
                // Every field of an exemplar says the same number.
                for i in 0..each {
                    let id = writer * 1000 + i % 1000;
                    let trace_id = u128::from(id) << 64 | u128::from(id);
                    let span = SpanRef { trace_id, span_id: id };
                    histogram.observe_time_of(Duration::from_nanos(id), Some(span));
                }
            });
        }
        for _ in 0..20_000 {
            let bucket = histogram.buckets().next().expect("a bucket");
            if let Some(Exemplar { span, value, .. }) = bucket.exemplar {
                let id = u128::from(span.span_id);
                assert_eq!(span.trace_id, id << 64 | id);
                assert_eq!((value * 1e9).round() as u64, span.span_id);
            }
        }
    });
    assert_eq!(counts(&histogram), [writers * each; 2]);
}

proptest! {
    #[test]
    fn counts_are_those_of_a_list(
        mut bounds in proptest::collection::btree_set(1u32..5000, 1..25),
        values in proptest::collection::vec(0u64..6000, 0..200),
    ) {
        bounds.insert(5001);
        let bounds: Vec<f64> = bounds.into_iter().map(f64::from).collect();
        let histogram = Histogram::of_counts(&bounds);
        values.iter().for_each(|value| histogram.observe(*value));
        for bucket in histogram.buckets() {
            let below = values.iter().filter(|value| **value as f64 <= bucket.bound).count();
            prop_assert_eq!(bucket.count, below as u64);
        }
        prop_assert_eq!(histogram.sum(), values.iter().sum::<u64>() as f64);
    }
}
