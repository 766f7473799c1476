use super::*;

fn outcome(start: f64, ttft: f64, itl: &[f64]) -> Outcome {
    Outcome {
        start,
        ttft,
        itl: itl.to_vec(),
        latency: ttft + itl.iter().sum::<f64>(),
        output_tokens: itl.len() + 1,
        prompt_len: 10,
        ..Outcome::default()
    }
}

#[test]
fn totals_are_those_of_vllm() {
    let failed = Outcome { error: Some("no".to_owned()), ..outcome(0.0, 9.0, &[9.0]) };
    let limits = Goodput { ttft: Some(300.0), tpot: Some(250.0), e2el: None };
    let outcomes = [
        outcome(0.0, 0.5, &[0.1, 0.3]),
        outcome(0.2, 0.2, &[]),
        outcome(1.5, 0.2, &[0.2, 0.4, 0.2]),
        failed,
    ];
    let totals = Totals::of(&outcomes, Some(limits));
    assert_eq!((totals.completed, totals.failed), (3, 1));
    assert_eq!((totals.input, totals.output), (30, 3 + 1 + 4));
    // A reply of one token has no time per token, but keeps its limit.
    assert_eq!(totals.tpot.len(), 2);
    assert!((totals.tpot[0] - 0.2).abs() < 1e-9);
    assert_eq!(totals.itl, [0.1, 0.3, 0.2, 0.4, 0.2]);
    assert_eq!(totals.good, 1);
    // Tokens at 0.5, 0.6, 0.9, 0.4; then at 1.7, 1.9; then at 2.3, 2.5.
    assert_eq!((totals.peak_tokens, totals.peak_requests), (4, 2));
    let nothing = Totals::of(&[], None);
    assert_eq!((nothing.completed, nothing.peak_tokens, nothing.peak_requests), (0, 0, 0));
}

#[test]
fn lines_have_the_columns_of_vllm() {
    let mut out = Vec::new();
    let mut table = Table { out: &mut out, counts_tokens: true };
    table.title(" Serving Benchmark Result ", '=').expect("written");
    table.count("Successful requests:", 7).expect("written");
    table.number("Benchmark duration (s):", 1.005).expect("written");
    table.title("Time per Output Token (excl. 1st token)", '-').expect("written");
    let metric = table.metric("ttft", "TTFT", &[0.001, 0.002], &[99.0, 99.9]).expect("written");
    let wanted = [
        "============ Serving Benchmark Result ============",
        "Successful requests:                     7",
        "Benchmark duration (s):                  1.00",
        "-----Time per Output Token (excl. 1st token)------",
        "Mean TTFT (ms):                          1.50",
        "Median TTFT (ms):                        1.50",
        "P99 TTFT (ms):                           1.99",
        "P99.9 TTFT (ms):                         2.00",
    ];
    let out = String::from_utf8(out).expect("UTF-8");
    // Values are filled up to ten columns.
    assert!(out.contains("requests:                     7         \n"), "{out}");
    assert_eq!(out.lines().map(str::trim_end).collect::<Vec<_>>(), wanted);
    let keys: Vec<&String> = metric.keys().collect();
    let wanted = ["mean_ttft_ms", "median_ttft_ms", "std_ttft_ms", "p99_ttft_ms", "p99.9_ttft_ms"];
    assert_eq!(keys, wanted);
}
