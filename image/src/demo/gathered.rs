//! Windows out of single records, however these came.

use std::collections::BTreeMap;

use super::verify::{Window, WindowKey, Windows};

/// What a series' name is followed by in the records of a window, in the order of [`Partial`].
pub(super) const FIGURES: [&str; 7] = [
    "count",
    "mean",
    "min",
    "max",
    "stddev_pop",
    "missing",
    "flagged",
];

/// The figures of a window that have arrived, in the order of [`FIGURES`].
type Partial = [Option<f64>; FIGURES.len()];

/// The windows of which something has arrived.
#[derive(Debug, Default)]
pub struct Gathered {
    windows: BTreeMap<WindowKey, Partial>,
}

/// Why records are not those of windows.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FigureError {
    /// A record that no window has.
    #[error("`{0}` is no figure of a window: {figures} are", figures = FIGURES.join(", "))]
    Unknown(String),
    /// The same figure again.
    #[error("{window}: {figure} arrived twice")]
    Twice {
        /// The window.
        window: WindowKey,
        /// The figure.
        figure: &'static str,
    },
    /// A figure that never came.
    #[error("{window}: {figure} did not arrive")]
    Incomplete {
        /// The window.
        window: WindowKey,
        /// The figure.
        figure: &'static str,
    },
    /// A number of readings that is no whole number.
    #[error("{window}: {value} is no number of readings")]
    Count {
        /// The window.
        window: WindowKey,
        /// What arrived.
        value: f64,
    },
}

impl Gathered {
    /// Takes in a record: its name, its time in whole seconds, its value.
    pub fn add(&mut self, name: &str, start: i64, value: f64) -> Result<(), FigureError> {
        let unknown = || FigureError::Unknown(name.to_owned());
        let (series, suffix) = name.rsplit_once(':').ok_or_else(unknown)?;
        let index = FIGURES
            .iter()
            .position(|figure| *figure == suffix)
            .ok_or_else(unknown)?;
        let window = WindowKey {
            series: series.to_owned(),
            start,
        };
        let (figure, partial) = (
            FIGURES.get(index),
            self.windows.entry(window.clone()).or_default(),
        );
        match (figure, partial.get_mut(index)) {
            (Some(_), Some(slot @ None)) => *slot = Some(value),
            (Some(figure), Some(_)) => return Err(FigureError::Twice { window, figure }),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Windows of which something has arrived.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// All windows, each complete.
    pub fn finish(self) -> Result<Windows, FigureError> {
        let complete = |(key, partial)| complete(&key, partial).map(|window| (key, window));
        self.windows.into_iter().map(complete).collect()
    }
}

fn complete(key: &WindowKey, partial: Partial) -> Result<Window, FigureError> {
    let [count, mean, min, max, deviation, missing, flagged] = partial;
    let need = |value: Option<f64>, figure| {
        value.ok_or_else(|| FigureError::Incomplete {
            window: key.clone(),
            figure,
        })
    };
    let whole = |value: f64| {
        // Up to 2^53 every whole number has its own f64.
        let fits = (0.0..=9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
        fits.then_some(value as u64)
            .ok_or_else(|| FigureError::Count {
                window: key.clone(),
                value,
            })
    };
    Ok(Window {
        count: whole(need(count, "count")?)?,
        // Not sent while the spacing of the series is not known.
        missing: missing.map(whole).transpose()?,
        mean: need(mean, "mean")?,
        min: need(min, "min")?,
        max: need(max, "max")?,
        deviation: need(deviation, "stddev_pop")?,
        flagged: whole(need(flagged, "flagged")?)?,
    })
}
