//! A point in WGS84.

use thiserror::Error;

/// Mean radius of the earth, metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Latitude and longitude in WGS84 degrees; finite and in range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatLng {
    lat: f64,
    lng: f64,
}

/// The numbers are no point of the earth.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("latitude must be -90 to 90 and longitude -180 to 180")]
pub struct LatLngError;

impl LatLng {
    /// A point of `lat` (-90 to 90) and `lng` (-180 to 180) degrees.
    pub fn new(lat: f64, lng: f64) -> Result<Self, LatLngError> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lng) {
            Ok(Self { lat, lng })
        } else {
            Err(LatLngError)
        }
    }

    /// Latitude, degrees.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Longitude, degrees.
    pub fn lng(self) -> f64 {
        self.lng
    }

    /// Distance on the sphere, metres.
    pub fn haversine_m(self, other: Self) -> f64 {
        let (lat, other_lat) = (self.lat.to_radians(), other.lat.to_radians());
        let half = |difference: f64| (difference / 2.0).sin().powi(2);
        let a = half(other_lat - lat) + lat.cos() * other_lat.cos() * half((other.lng - self.lng).to_radians());
        2.0 * EARTH_RADIUS_M * a.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_no_point_is_refused() {
        for (lat, lng) in [(91.0, 0.0), (0.0, 181.0), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(LatLng::new(lat, lng), Err(LatLngError));
        }
    }

    #[test]
    fn a_degree_of_latitude_is_111_kilometres() {
        let distance = LatLng::new(30.0, 110.0)
            .unwrap()
            .haversine_m(LatLng::new(31.0, 110.0).unwrap());
        assert!((distance - 111_195.0).abs() < 1.0, "{distance}");
    }
}
