//! Weather of each day: temperature and rain with the seasons of the middle of China, invented. A day's weather depends on the noise of the days
//! before it, so that wet days come together, and can still be told for any day alone.

use crate::calendar::Calendar;
use crate::random::{Purpose, Random};

/// Mean temperature in the middle of each month, tenths of a degree.
const TEMPERATURE: [i32; 12] = [28, 56, 110, 172, 225, 268, 284, 274, 228, 174, 110, 52];
/// Share of days with rain, percent.
const RAIN: [f64; 12] = [18.0, 22.0, 28.0, 30.0, 33.0, 38.0, 45.0, 38.0, 30.0, 25.0, 20.0, 15.0];

/// One day's weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Mean temperature, tenths of a degree Celsius.
    pub temperature: i32,
    /// Rain, tenths of a millimetre.
    pub rain: u32,
}

impl Weather {
    /// How hot it is, 0 (26 °C or less) to 1 (34 °C).
    pub fn heat(self) -> f64 {
        (f64::from(self.temperature - 260) / 80.0).clamp(0.0, 1.0)
    }

    /// How cold it is, 0 (4 °C or more) to 1 (-4 °C).
    pub fn cold(self) -> f64 {
        (f64::from(40 - self.temperature) / 80.0).clamp(0.0, 1.0)
    }

    /// How much it rains, 0 to 1 (30 mm).
    pub fn wet(self) -> f64 {
        (f64::from(self.rain) / 300.0).min(1.0)
    }
}

/// The weather of a day.
pub fn weather_of(seed: u64, calendar: &Calendar, day: u32) -> Weather {
    let date = calendar.day(day);
    let (month, other, share) = {
        let offset = date.day as i32 - 15;
        let month = date.month as usize - 1;
        let other = if offset < 0 {
            (month + 11) % 12
        } else {
            (month + 1) % 12
        };
        (month, other, offset.abs())
    };
    let normal = (TEMPERATURE[month] * (30 - share) + TEMPERATURE[other] * share) / 30;
    let mut noise = 0;
    let mut luck = [0.0; 2];
    for back in 0..5_u32 {
        let mut random = Random::new(seed, day + 8 - back, Purpose::Weather);
        noise += random.around(30) * (5 - back as i32) / 4;
        let drawn = random.unit();
        if back < 2 {
            luck[back as usize] = drawn;
        }
    }
    // The mean of two uniform draws lies below t with probability 2t².
    let is_wet = f64::midpoint(luck[0], luck[1]) < libm::sqrt(RAIN[month] / 200.0);
    let mut random = Random::new(seed, day + 8_000, Purpose::Weather);
    let rain = if is_wet { 2 + random.waiting(95) } else { 0 };
    Weather {
        temperature: normal + noise,
        rain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summers_are_hot_winters_cold_and_about_a_quarter_of_the_days_wet() {
        let calendar = Calendar::new();
        let year: Vec<Weather> = (0..365).map(|day| weather_of(7, &calendar, day)).collect();
        let mean = |days: std::ops::Range<usize>| {
            let count = days.len() as i32;
            year[days].iter().map(|day| day.temperature).sum::<i32>() / count
        };
        assert!(mean(181..212) > 250 && mean(0..31) < 70);
        let wet = year.iter().filter(|day| day.rain > 0).count();
        assert!((70..150).contains(&wet), "{wet} wet days");
    }
}
