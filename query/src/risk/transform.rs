//! From a factor's value to 0..1, and what is frozen per window.
//!
//! Rates are shrunk by Poisson-Gamma empirical Bayes (Clayton & Kaldor 1987): θ = (o + ν) / (e + α), with m = mean(θ),
//! v = Σ (1 + α/e)(θ − m)² / (n − 1), α = m/v, ν = m·α iterated to a fixed point.

use std::collections::BTreeMap;

use shiyu_schemas::city::model::Transform;

/// Iterations of the fixed point at most; it converges in a few dozen.
const ITERATIONS_MAX: usize = 200;

/// What a rate needs of the whole city, frozen for a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePrior {
    /// Pseudo-exposure α.
    pub exposure: f64,
    /// Pseudo-count ν.
    pub count: f64,
    /// Shrunken rate that gives 1.
    pub full: f64,
}

impl RatePrior {
    /// Fits the prior to counts and exposures of the city's active cells; `full_percentile` in 0..100.
    pub fn fit(cells: &[(f64, f64)], full_percentile: f64) -> Self {
        let count: f64 = cells.iter().map(|(observed, _)| observed).sum();
        let exposure: f64 = cells.iter().map(|(_, exposure)| exposure).sum();
        if cells.len() < 2 || count <= 0.0 || exposure <= 0.0 {
            return Self {
                exposure: 0.0,
                count: 0.0,
                full: 1.0,
            };
        }
        let (alpha, nu) = fixed_point(cells, count / exposure);
        let mut rates: Vec<f64> = cells
            .iter()
            .map(|(observed, exposure)| (observed + nu) / (exposure + alpha))
            .collect();
        rates.sort_by(f64::total_cmp);
        let rank = (full_percentile.clamp(0.0, 100.0) / 100.0 * (rates.len() - 1) as f64).round() as usize;
        let full = rates[rank];
        Self {
            exposure: alpha,
            count: nu,
            full: if full > 0.0 { full } else { 1.0 },
        }
    }

    /// The shrunken rate of one cell.
    pub fn rate(&self, count: f64, exposure: f64) -> f64 {
        (count + self.count) / (exposure + self.exposure)
    }
}

fn fixed_point(cells: &[(f64, f64)], crude: f64) -> (f64, f64) {
    let (mut alpha, mut nu) = (0.0, 0.0);
    for _ in 0..ITERATIONS_MAX {
        let rates: Vec<f64> = cells
            .iter()
            .map(|(observed, exposure)| (observed + nu) / (exposure + alpha))
            .collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates
            .iter()
            .zip(cells)
            .map(|(rate, (_, exposure))| (1.0 + alpha / exposure) * (rate - mean).powi(2))
            .sum::<f64>()
            / (rates.len() - 1) as f64;
        if variance <= f64::EPSILON * mean * mean {
            // No spread beyond chance: every cell gets the city's rate.
            return (1e9, crude * 1e9);
        }
        let next = mean / variance;
        let done = (next - alpha).abs() <= 1e-10 * next;
        alpha = next;
        nu = mean * alpha;
        if done {
            break;
        }
    }
    (alpha, nu)
}

/// The inputs of one factor for one cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct FactorInput {
    /// The factor's value in its window.
    pub value: f64,
    /// Trend: mean value of the windows before. Share: the denominator. Else 0.
    pub reference: f64,
    /// Rate: the cell's exposure. Else 1.
    pub exposure: f64,
}

/// The transformed value in 0..1, and the raw value that is shown beside it (a rate, a ratio, a share, the value itself).
pub fn apply(transform: &Transform, input: FactorInput, prior: Option<&RatePrior>) -> (f64, f64) {
    let (raw, scaled) = match transform {
        Transform::Rate { .. } => {
            let prior = prior.copied().unwrap_or(RatePrior {
                exposure: 0.0,
                count: 0.0,
                full: 1.0,
            });
            if input.value <= 0.0 {
                // A cell without cases has no points, whatever the prior expects of it.
                (0.0, 0.0)
            } else {
                let rate = prior.rate(input.value, input.exposure);
                (rate, rate / prior.full)
            }
        }
        Transform::Trend { prior_count, full, .. } => {
            let ratio = (input.value + prior_count) / (input.reference + prior_count).max(f64::MIN_POSITIVE);
            (ratio, (ratio - 1.0) / (full - 1.0))
        }
        Transform::Share { prior_count, full, .. } => {
            let whole = input.reference + prior_count;
            let share = if whole > 0.0 { input.value / whole } else { 0.0 };
            (share, share / full)
        }
        Transform::Linear { full } => (input.value, input.value / full),
    };
    let scaled = if scaled.is_finite() {
        scaled.clamp(0.0, 1.0)
    } else {
        0.0
    };
    (raw, scaled)
}

/// Counts and exposures of the cells that have any, for [`RatePrior::fit`].
pub fn rate_inputs(values: &BTreeMap<i64, f64>, exposure: impl Fn(i64) -> f64) -> Vec<(f64, f64)> {
    values.iter().map(|(&cell, &value)| (value, exposure(cell))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinkage_pulls_a_small_cell_towards_the_city() {
        let mut cells: Vec<(f64, f64)> = (0..50).map(|index| (f64::from(index % 7) * 10.0 + 5.0, 10.0)).collect();
        cells.push((1.0, 0.01));
        let prior = RatePrior::fit(&cells, 99.0);
        let crude = 1.0 / 0.01;
        let shrunken = prior.rate(1.0, 0.01);
        assert!(shrunken < crude / 5.0, "{shrunken}");
        assert!(prior.rate(650.0, 10.0) > 50.0, "a large cell keeps its own rate");
    }

    #[test]
    fn no_cases_give_no_points() {
        let transform = Transform::Rate {
            exposure: "cell".to_owned(),
            full_percentile: 99.0,
        };
        let prior = RatePrior::fit(&[(1.0, 1.0), (5.0, 1.0), (9.0, 1.0)], 99.0);
        let input = FactorInput {
            value: 0.0,
            reference: 0.0,
            exposure: 1.0,
        };
        assert_eq!(apply(&transform, input, Some(&prior)), (0.0, 0.0));
    }

    #[test]
    fn small_counts_make_no_trend() {
        let transform = Transform::Trend {
            baseline_windows: 4,
            prior_count: 5.0,
            full: 3.0,
        };
        let small = FactorInput {
            value: 2.0,
            reference: 0.0,
            exposure: 1.0,
        };
        let large = FactorInput {
            value: 60.0,
            reference: 15.0,
            exposure: 1.0,
        };
        assert!(apply(&transform, small, None).1 < 0.25);
        assert!(apply(&transform, large, None).1 > 0.99);
    }
}
