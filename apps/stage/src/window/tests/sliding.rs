//! Windows that slide over one another, against all readings kept.

use super::*;

#[test]
fn a_reading_lies_in_every_window_that_holds_it() {
    let (closed, late) = run(&hourly(6, 2, 0), &values([7, 8]), None);
    assert_eq!(late, 0);
    let seen: Vec<_> = closed
        .iter()
        .map(|window| (window.start, window.moments.count()))
        .collect();
    assert_eq!(seen, [(at(2), 1), (at(4), 2), (at(6), 2), (at(8), 1)]);
}

#[test]
fn a_window_is_told_as_soon_as_it_is_over() {
    let windows = hourly(6, 2, 0);
    let mut series = Series::new();
    let mut told = Vec::new();
    for hour in 0..12 {
        series.add(&windows, at(hour), Sample::Value(0.0)).unwrap();
        while let Some(window) = series.close_next(&windows, None) {
            told.push((hour, window.start));
        }
    }
    assert_eq!(
        told,
        [
            (2, at(-4)),
            (4, at(-2)),
            (6, at(0)),
            (8, at(2)),
            (10, at(4))
        ]
    );
}

#[test]
fn distances_that_do_not_fit_are_refused() {
    let new = |length, hop, lateness| {
        let seconds = Duration::from_secs;
        Windows::new(seconds(length), seconds(hop), seconds(lateness), false).map(drop)
    };
    for (length, hop) in [
        (60, 60),
        (60, 1),
        (86_400, 3_600),
        (7 * 86_400, 86_400),
        (64, 1),
    ] {
        assert_eq!(new(length, hop, 0), Ok(()), "{length} {hop}");
    }
    for (length, hop) in [
        (60, 0),
        (60, 7),
        (60, 120),
        (65, 1),
        (86_400, u64::MAX),
        (14, 7),
    ] {
        assert_eq!(new(length, hop, 0), Err(WindowError::Hop), "{length} {hop}");
    }
    assert_eq!(new(60, 1, 1_024), Ok(()));
    assert_eq!(new(60, 1, 1_025), Err(WindowError::Lateness));
}

proptest! {
    #[test]
    fn sliding_windows_hold_what_all_readings_kept_say(
        readings in prop::collection::vec((0i64..200, prop::option::weighted(0.9, -1e3f64..1e3)), 1..120),
        shuffle in prop::collection::vec(0i64..10, 120),
        shape in prop::sample::select(&[(24u64, 24u64), (24, 6), (24, 1), (6, 2), (48, 24), (3, 1)][..]),
        percent in 0u32..=100,
    ) {
        let (length, hop) = (shape.0 as i64, shape.1 as i64);
        let mut keyed: Vec<_> = readings.iter().copied().zip(shuffle).collect();
        keyed.sort_by_key(|((hour, _), off)| hour + off);
        let shuffled: Vec<_> = keyed.into_iter()
            .map(|((hour, value), _)| (hour, value.map_or(Sample::Flagged, Sample::Value)))
            .collect();
        let (closed, late) = run(&hourly(shape.0, shape.1, 10), &shuffled, Some(Duration::from_secs(3_600)));
        prop_assert_eq!(late, 0);
        let mut told = closed.iter();
        let mut start = -length;
        while start < 200 {
            let inside = || readings.iter().filter(|(hour, _)| (start..start + length).contains(hour));
            if inside().next().is_some() {
                let window = told.next().unwrap();
                let mut values: Vec<f64> = inside().filter_map(|(_, value)| *value).collect();
                values.sort_by(f64::total_cmp);
                prop_assert_eq!(window.start, at(start));
                prop_assert_eq!(window.moments.count(), values.len() as u64);
                prop_assert_eq!(window.flagged, (inside().count() - values.len()) as u64);
                prop_assert_eq!(window.missing, Some((length as u64).saturating_sub(inside().count() as u64)));
                prop_assert_eq!(window.moments.max(), values.last().copied());
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                prop_assert!(window.moments.mean().is_none_or(|found| (found - mean).abs() < 1e-9));
                // The nearest rank, by counting.
                let percentile = Percentile::parse(&std::format!("{percent}")).unwrap();
                let enough = |value: &&f64| {
                    let not_above = values.iter().filter(|other| other <= value).count();
                    not_above as u32 * 100 >= percent * values.len() as u32
                };
                prop_assert_eq!(window.percentile(percentile), values.iter().find(enough).copied());
            }
            start += hop;
        }
        prop_assert!(told.next().is_none());
    }
}
