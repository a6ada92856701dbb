//! Percentiles in bounded memory, against all values kept.

use super::*;

fn percentile(text: &str) -> Percentile {
    Percentile::parse(text).unwrap()
}

fn digest(values: &[f64]) -> Digest {
    let mut digest = Digest::default();
    values.iter().for_each(|value| digest.add(*value));
    digest
}

/// The nearest rank of so many thousandths of a percent.
fn exact(values: &[f64], thousandths: u64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as u64 * thousandths).div_ceil(100_000).max(1);
    sorted[rank as usize - 1]
}

#[test]
fn percentages_are_read_to_thousandths() {
    for text in ["0", "50", "99.9", "99.999", "100", "100.0", "007"] {
        assert!(Percentile::parse(text).is_some(), "{text}");
    }
    for text in [
        "", "-1", "100.001", "101", "1e1", "50.", ".5", "99.9999", "0050", "5 ", "٣",
    ] {
        assert_eq!(Percentile::parse(text), None, "{text}");
    }
    let thousand: Vec<f64> = (1..=1000).map(|n| f64::from(n / 10)).collect();
    let digest = digest(&thousand);
    let found = ["0", "0.1", "50", "99.9", "100"].map(|text| digest.at(percentile(text)));
    assert_eq!(found, [0.0, 0.0, 50.0, 99.0, 100.0].map(Some));
}

#[test]
fn of_nothing_there_is_none_and_zeros_have_an_order() {
    assert_eq!(Digest::default().at(percentile("50")), None);
    let digest = digest(&[0.0, -0.0, f64::MIN_POSITIVE, -5e-324, f64::MAX, f64::MIN]);
    let all = ["1", "33", "50", "66", "83", "100"].map(|text| digest.at(percentile(text)).unwrap());
    assert_eq!(
        all,
        [f64::MIN, -5e-324, -0.0, 0.0, f64::MIN_POSITIVE, f64::MAX]
    );
}

#[test]
fn it_takes_no_more_room_whatever_comes() {
    let values: Vec<f64> = (0..100_000u64)
        .map(|n| f64::from_bits(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .filter(|value| value.is_finite())
        .collect();
    let digest = digest(&values);
    assert!(digest.cells.len() <= MAX_DISTINCT && digest.cells.capacity() <= MAX_DISTINCT);
    assert!(digest.at(percentile("100")).is_some());
}

proptest! {
    #[test]
    fn few_different_values_are_exact(
        levels in prop::collection::vec(any::<f64>().prop_filter("finite", |value| value.is_finite()), 1..=MAX_DISTINCT),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..600), thousandths in 0u64..=100_000,
    ) {
        let values: Vec<f64> = picks.iter().map(|pick| *pick.get(&levels)).collect();
        let text = std::format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        let found = digest(&values).at(percentile(&text)).unwrap();
        prop_assert_eq!(found.to_bits(), exact(&values, thousandths).to_bits());
    }

    #[test]
    fn many_are_off_by_less_than_is_promised(
        octaves in 1u32..8, scale in -300i32..300, negative in any::<bool>(),
        parts in prop::collection::vec(0.0..1.0f64, 300..3000), thousandths in 0u64..=100_000,
    ) {
        let sign = if negative { -1.0 } else { 1.0 };
        let values: Vec<f64> = parts.iter()
            .map(|part| sign * (2f64.powi(scale) * (1.0 + part * (2f64.powi(octaves as i32) - 1.0)))).collect();
        let text = std::format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        let found = digest(&values).at(percentile(&text)).unwrap();
        let exact = exact(&values, thousandths);
        let promised = f64::from(octaves + 1) / MAX_DISTINCT as f64;
        prop_assert!((found - exact).abs() < promised * exact.abs(), "{found} {exact}");
    }

    #[test]
    fn no_value_is_outside_what_came(values in prop::collection::vec(any::<f64>(), 1..1500), percent in 0u32..=100) {
        let mut series = Series::new();
        let windows = daily(0);
        for value in &values {
            let sample = if value.is_finite() { Sample::Value(*value) } else { Sample::Flagged };
            series.add(&windows, at(0), sample).unwrap();
        }
        let window = series.close_first(&windows, None).unwrap();
        if let Some(found) = window.percentile(percentile(&std::format!("{percent}"))) {
            prop_assert!(window.moments.min() <= Some(found) && Some(found) <= window.moments.max());
        }
    }
}
