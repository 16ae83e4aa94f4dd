//! GCJ-02 and BD-09 by the public formula. All functions take and give `(lat, lng)` in degrees.
//!
//! The inverse is exact: a fixed point, to far below a millimetre. Outside the usual rectangle (0.8293–55.8271 N, 72.004–137.8347 E),
//! which is larger than China, GCJ-02 is WGS84 (BD-09 is Baidu's shift of it everywhere). Within 700 m of the rectangle's edge, in the sea
//! or abroad, a point may be shifted across it; there, and only there, the way back does not meet the way there.

use std::f64::consts::PI;

/// Semi-major axis of the Krasovsky ellipsoid, metres, and its squared eccentricity, as the formula has them.
const AXIS_M: f64 = 6_378_245.0;
const ECCENTRICITY_SQUARED: f64 = 0.006_693_421_622_965_943;
const BD_PI: f64 = PI * 3000.0 / 180.0;
/// About 0.1 µm. Each step of the fixed points shrinks the error at least thirtyfold, so the last one ends far closer.
const CLOSE_DEGREES: f64 = 1e-12;
const ITERATIONS_MAX: usize = 60;

fn outside(lat: f64, lng: f64) -> bool {
    !(0.8293..=55.8271).contains(&lat) || !(72.004..=137.8347).contains(&lng)
}

fn offset(lat: f64, lng: f64) -> (f64, f64) {
    let (x, y) = (lng - 105.0, lat - 35.0);
    let root = x.abs().sqrt();
    let wave = (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0;
    let mut north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + wave;
    north += (20.0 * (y * PI).sin() + 40.0 * (y / 3.0 * PI).sin()) * 2.0 / 3.0;
    north += (160.0 * (y / 12.0 * PI).sin() + 320.0 * (y * PI / 30.0).sin()) * 2.0 / 3.0;
    let mut east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + wave;
    east += (20.0 * (x * PI).sin() + 40.0 * (x / 3.0 * PI).sin()) * 2.0 / 3.0;
    east += (150.0 * (x / 12.0 * PI).sin() + 300.0 * (x / 30.0 * PI).sin()) * 2.0 / 3.0;
    let radians = lat.to_radians();
    let magic = 1.0 - ECCENTRICITY_SQUARED * radians.sin().powi(2);
    let meridian = AXIS_M * (1.0 - ECCENTRICITY_SQUARED) / (magic * magic.sqrt());
    let parallel = AXIS_M / magic.sqrt() * radians.cos();
    ((north / meridian).to_degrees(), (east / parallel).to_degrees())
}

/// GCJ-02 of a WGS84 point.
pub fn wgs84_to_gcj02(lat: f64, lng: f64) -> (f64, f64) {
    if outside(lat, lng) {
        return (lat, lng);
    }
    let (north, east) = offset(lat, lng);
    (lat + north, lng + east)
}

/// WGS84 of a GCJ-02 point.
pub fn gcj02_to_wgs84(lat: f64, lng: f64) -> (f64, f64) {
    if outside(lat, lng) {
        return (lat, lng);
    }
    let (mut wgs_lat, mut wgs_lng) = (lat, lng);
    for _ in 0..ITERATIONS_MAX {
        let (north, east) = offset(wgs_lat, wgs_lng);
        let (next_lat, next_lng) = (lat - north, lng - east);
        let moved = (next_lat - wgs_lat).abs().max((next_lng - wgs_lng).abs());
        (wgs_lat, wgs_lng) = (next_lat, next_lng);
        if moved < CLOSE_DEGREES {
            break;
        }
    }
    (wgs_lat, wgs_lng)
}

/// BD-09 of a GCJ-02 point.
pub fn gcj02_to_bd09(lat: f64, lng: f64) -> (f64, f64) {
    let radius = lng.hypot(lat) + 0.000_02 * (lat * BD_PI).sin();
    let angle = lat.atan2(lng) + 0.000_003 * (lng * BD_PI).cos();
    (radius * angle.sin() + 0.006, radius * angle.cos() + 0.0065)
}

/// GCJ-02 of a BD-09 point.
pub fn bd09_to_gcj02(lat: f64, lng: f64) -> (f64, f64) {
    let (mut gcj_lat, mut gcj_lng) = (lat - 0.006, lng - 0.0065);
    for _ in 0..ITERATIONS_MAX {
        let (bd_lat, bd_lng) = gcj02_to_bd09(gcj_lat, gcj_lng);
        let (off_lat, off_lng) = (lat - bd_lat, lng - bd_lng);
        gcj_lat += off_lat;
        gcj_lng += off_lng;
        if off_lat.abs().max(off_lng.abs()) < CLOSE_DEGREES {
            break;
        }
    }
    (gcj_lat, gcj_lng)
}

/// BD-09 of a WGS84 point.
pub fn wgs84_to_bd09(lat: f64, lng: f64) -> (f64, f64) {
    let (lat, lng) = wgs84_to_gcj02(lat, lng);
    gcj02_to_bd09(lat, lng)
}

/// WGS84 of a BD-09 point.
pub fn bd09_to_wgs84(lat: f64, lng: f64) -> (f64, f64) {
    let (lat, lng) = bd09_to_gcj02(lat, lng);
    gcj02_to_wgs84(lat, lng)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_vector_is_met() {
        let (lat, lng) = wgs84_to_gcj02(32.0, 118.0);
        assert!((lat - 31.997_964_381_055_795).abs() < 1e-12);
        assert!((lng - 118.005_431_013_838_46).abs() < 1e-12);
    }

    #[test]
    fn beyond_the_rectangle_nothing_moves() {
        assert_eq!(wgs84_to_gcj02(41.88, -87.63), (41.88, -87.63));
    }

    proptest! {
        #[test]
        fn there_and_back_is_far_below_a_millimetre(lat in 1.0..55.0_f64, lng in 73.0..137.0_f64) {
            let (gcj_lat, gcj_lng) = wgs84_to_gcj02(lat, lng);
            let (back_lat, back_lng) = gcj02_to_wgs84(gcj_lat, gcj_lng);
            prop_assert!((back_lat - lat).abs() < 1e-11 && (back_lng - lng).abs() < 1e-11);
            let (bd_lat, bd_lng) = wgs84_to_bd09(lat, lng);
            let (back_lat, back_lng) = bd09_to_wgs84(bd_lat, bd_lng);
            prop_assert!((back_lat - lat).abs() < 1e-11 && (back_lng - lng).abs() < 1e-11);
        }
    }
}
