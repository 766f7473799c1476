//! Means and percentiles as NumPy has them.

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The deviation of all values, not of a sample of them; 0 of nothing.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    self::mean(&squares).sqrt()
}

/// The value below which `percent` of the values lie, between its neighbours in proportion; 0 of
/// nothing.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = last as f64 * percent / 100.0;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0, 10.0];
        assert_eq!(mean(&values), 4.0);
        assert!((deviation(&values) - 10f64.sqrt()).abs() < 1e-12);
        assert_eq!(percentile(&values, 50.0), 3.0);
        assert!((percentile(&values, 99.0) - 9.76).abs() < 1e-12);
        assert_eq!((percentile(&values, 0.0), percentile(&values, 100.0)), (1.0, 10.0));
        assert_eq!((mean(&[]), deviation(&[]), percentile(&[], 99.0)), (0.0, 0.0, 0.0));
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
    }
}
