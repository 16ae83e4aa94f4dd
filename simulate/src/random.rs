//! Chance, the same on every machine: one ChaCha stream per seed, day and purpose, integers, and `libm` where an exponential is needed.

use rand::RngCore as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// What a stream is for: streams of one day do not touch each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The land.
    Land = 1,
    /// Planted clusters, sites and trends; its "day" is a period.
    Plan = 2,
    /// The weather's noise.
    Weather = 3,
    /// What truly happens.
    Incident = 4,
    /// Who reports it, and what departments make of it.
    Report = 5,
    /// Records with no incident behind them.
    Noise = 6,
    /// Patrols: where they go.
    Patrol = 7,
    /// How files are exchanged: what is sent again.
    Exchange = 8,
}

/// A stream of chance.
#[derive(Debug, Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of a seed, a day and a purpose.
    pub fn new(seed: u64, day: u32, purpose: Purpose) -> Self {
        let mut chacha = ChaCha8Rng::seed_from_u64(seed);
        chacha.set_stream((u64::from(day) << 8) | purpose as u64);
        Self(chacha)
    }

    /// A whole number in `0..count`; 0 where `count` is 0.
    pub fn below(&mut self, count: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(count)) >> 32) as u32
    }

    /// A whole number in `low..high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low))
    }

    /// True with this many parts per thousand.
    pub fn chance(&mut self, per_thousand: u32) -> bool {
        self.below(1_000_000) < per_thousand.saturating_mul(1_000)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `[0, 1)` with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// One of a slice's items. The slice is not empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u32) as usize]
    }

    /// A whole number around 0, nearly normal, with about this standard deviation; never beyond 3.5 of it.
    pub fn around(&mut self, deviation: u32) -> i32 {
        // Four uniform draws have a standard deviation of 1/√3 of their range's half each, so twice that together.
        let bits = self.bits();
        let sum: i64 = (0..4).map(|part| ((bits >> (16 * part)) & 0xffff) as i64).sum::<i64>() - 2 * 65_535;
        (sum * i64::from(deviation) / 37_837) as i32
    }

    /// A Poisson count with this mean.
    pub fn poisson(&mut self, mean: f64) -> u32 {
        const STEP: f64 = 24.0;
        let mut left = mean;
        let mut count = 0;
        while left > 0.0 {
            let part = left.min(STEP);
            let floor = libm::exp(-part);
            let mut product = self.unit();
            while product > floor {
                count += 1;
                product *= self.unit();
            }
            left -= part;
        }
        count
    }

    /// A waiting time with this mean, exponential, cut at twelve means.
    pub fn waiting(&mut self, mean: u32) -> u32 {
        let draw = -libm::log(1.0 - self.unit());
        (draw.min(12.0) * f64::from(mean)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_mean_and_variance_of_a_poisson() {
        let mut random = Random::new(1, 0, Purpose::Incident);
        for mean in [0.3, 5.0, 120.5] {
            let counts: Vec<f64> = (0..4_000).map(|_| f64::from(random.poisson(mean))).collect();
            let measured = counts.iter().sum::<f64>() / 4_000.0;
            let variance = counts
                .iter()
                .map(|count| (count - measured) * (count - measured))
                .sum::<f64>()
                / 4_000.0;
            assert!((measured - mean).abs() < 0.05 * mean + 0.03, "{measured} for {mean}");
            assert!((variance - mean).abs() < 0.12 * mean + 0.03, "{variance} for {mean}");
        }
    }

    #[test]
    fn streams_of_two_days_or_purposes_differ_and_a_stream_is_always_the_same() {
        let draw = |day, purpose| Random::new(7, day, purpose).bits();
        assert_eq!(draw(3, Purpose::Report), draw(3, Purpose::Report));
        assert_ne!(draw(3, Purpose::Report), draw(4, Purpose::Report));
        assert_ne!(draw(3, Purpose::Report), draw(3, Purpose::Noise));
        assert_eq!(
            draw(0, Purpose::Land),
            18_301_176_669_829_311_175,
            "the stream moved: all golden files move with it"
        );
    }

    #[test]
    fn the_noise_is_centred_with_the_asked_deviation() {
        let mut random = Random::new(2, 0, Purpose::Report);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(random.around(1_000))).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let deviation = libm::sqrt(draws.iter().map(|draw| (draw - mean) * (draw - mean)).sum::<f64>() / 20_000.0);
        assert!(
            mean.abs() < 30.0 && (deviation - 1_000.0).abs() < 40.0,
            "{mean} {deviation}"
        );
    }
}
