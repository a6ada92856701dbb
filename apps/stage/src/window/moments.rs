//! Count, extremes, mean and deviation of numbers that are seen once.

/// What a stream of finite numbers comes to.
///
/// The mean comes from a compensated sum (Neumaier, 1974), the deviation from a running mean
/// (Welford, 1962): both stay near what two passes over the numbers give, also where the numbers are
/// large and lie close together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    /// What rounding has taken from `sum`.
    compensation: f64,
    running_mean: f64,
    /// The sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    /// Of no numbers.
    pub const fn new() -> Self {
        Self {
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            compensation: 0.0,
            running_mean: 0.0,
            squares: 0.0,
        }
    }

    /// Takes in a finite number.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let sum = self.sum + value;
        self.compensation += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
        let distance = value - self.running_mean;
        self.running_mean += distance / self.count as f64;
        self.squares += distance * (value - self.running_mean);
    }

    /// How many numbers.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least of them.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest of them.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        let mean = (self.sum + self.compensation) / self.count as f64;
        // A sum may pass what a float holds where the mean does not.
        let mean = if mean.is_finite() {
            mean
        } else {
            self.running_mean
        };
        (self.count > 0).then_some(mean)
    }

    /// Their standard deviation as a population: the root of the mean squared distance.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| libm::sqrt(self.squares / self.count as f64))
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self::new()
    }
}
