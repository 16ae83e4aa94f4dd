//! GCJ-02 and BD-09 by the public formula. All functions take and give `(lat, lng)` in degrees.
//!
//! The inverse is exact: iterated, to far below a millimetre. Outside the usual rectangle (0.8293–55.8271 N, 72.004–137.8347 E),
//! which is larger than China, GCJ-02 is WGS84 (BD-09 is Baidu's shift of it everywhere). Within 700 m of the rectangle's edge, in the sea
//! or abroad, a point may be shifted across it; there, and only there, the way back does not meet the way there.

use std::f64::consts::PI;

/// Semi-major axis of the Krasovsky ellipsoid, metres, and its squared eccentricity, as the formula has them.
const AXIS_M: f64 = 6_378_245.0;
const ECCENTRICITY_SQUARED: f64 = 0.006_693_421_622_965_943;
const BD_PI: f64 = PI * 3000.0 / 180.0;
/// About 0.1 µm. Each step of BD-09's fixed point shrinks the error at least thirtyfold, so the last one ends far closer.
const CLOSE_DEGREES: f64 = 1e-12;
const ITERATIONS_MAX: usize = 60;

fn outside(lat: f64, lng: f64) -> bool {
    !(0.8293..=55.8271).contains(&lat) || !(72.004..=137.8347).contains(&lng)
}

/// The sines (and cosines) the formula needs of one coordinate, made from two calls by the formulas of multiple angles: 1, 1/3, 1/12 and
/// 1/30 of `degrees` × π. What that costs in exactness is far below a micrometre.
struct Waves {
    whole: Wave,
    third: Wave,
    twelfth: Wave,
    thirtieth: Wave,
}

/// Sine and cosine of one angle.
#[derive(Clone, Copy)]
struct Wave {
    sin: f64,
    cos: f64,
}

impl Wave {
    fn of(radians: f64) -> Self {
        let (sin, cos) = radians.sin_cos();
        Self { sin, cos }
    }

    fn doubled(self) -> Self {
        Self {
            sin: 2.0 * self.sin * self.cos,
            cos: (self.cos - self.sin) * (self.cos + self.sin),
        }
    }

    fn tripled(self) -> Self {
        Self {
            sin: self.sin * (3.0 - 4.0 * self.sin * self.sin),
            cos: self.cos * (4.0 * self.cos * self.cos - 3.0),
        }
    }
}

impl Waves {
    fn of(degrees: f64) -> Self {
        let twelfth = Wave::of(degrees * PI / 12.0);
        let third = twelfth.doubled().doubled();
        Self {
            whole: third.tripled(),
            third,
            twelfth,
            thirtieth: Wave::of(degrees * PI / 30.0),
        }
    }
}

/// How far GCJ-02 is from WGS84 at a point, degrees, and how that changes along the two axes.
struct Offset {
    north: f64,
    east: f64,
    /// Of `north` and `east` per degree of latitude. Left out are the slow change of a degree's length and the root: 1e-4 of the whole.
    by_lat: (f64, f64),
    /// The same per degree of longitude.
    by_lng: (f64, f64),
}

fn offset(lat: f64, lng: f64) -> Offset {
    let (x, y) = (lng - 105.0, lat - 35.0);
    let root = x.abs().sqrt();
    let (along, up) = (Waves::of(x), Waves::of(y));
    let twice = along.whole.doubled();
    let six = twice.tripled();
    let wave = (20.0 * six.sin + 20.0 * twice.sin) * 2.0 / 3.0;
    let mut north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + wave;
    north += (20.0 * up.whole.sin + 40.0 * up.third.sin) * 2.0 / 3.0;
    north += (160.0 * up.twelfth.sin + 320.0 * up.thirtieth.sin) * 2.0 / 3.0;
    let mut east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + wave;
    east += (20.0 * along.whole.sin + 40.0 * along.third.sin) * 2.0 / 3.0;
    east += (150.0 * along.twelfth.sin + 300.0 * along.thirtieth.sin) * 2.0 / 3.0;

    let wave_by_x = (120.0 * six.cos + 40.0 * twice.cos) * PI * 2.0 / 3.0;
    let north_by_x = 2.0 + 0.1 * y + wave_by_x;
    let mut north_by_y = 3.0 + 0.4 * y + 0.1 * x;
    north_by_y += (20.0 * up.whole.cos + 40.0 / 3.0 * up.third.cos) * PI * 2.0 / 3.0;
    north_by_y += (160.0 / 12.0 * up.twelfth.cos + 320.0 / 30.0 * up.thirtieth.cos) * PI * 2.0 / 3.0;
    let mut east_by_x = 1.0 + 0.2 * x + 0.1 * y + wave_by_x;
    east_by_x += (20.0 * along.whole.cos + 40.0 / 3.0 * along.third.cos) * PI * 2.0 / 3.0;
    east_by_x += (150.0 / 12.0 * along.twelfth.cos + 300.0 / 30.0 * along.thirtieth.cos) * PI * 2.0 / 3.0;
    let east_by_y = 2.0 + 0.1 * x;

    let latitude = Wave::of(lat.to_radians());
    let magic = 1.0 - ECCENTRICITY_SQUARED * latitude.sin.powi(2);
    let per_meridian = (magic * magic.sqrt() / (AXIS_M * (1.0 - ECCENTRICITY_SQUARED))).to_degrees();
    let per_parallel = (magic.sqrt() / (AXIS_M * latitude.cos)).to_degrees();
    Offset {
        north: north * per_meridian,
        east: east * per_parallel,
        by_lat: (north_by_y * per_meridian, east_by_y * per_parallel),
        by_lng: (north_by_x * per_meridian, east_by_x * per_parallel),
    }
}

/// GCJ-02 of a WGS84 point.
pub fn wgs84_to_gcj02(lat: f64, lng: f64) -> (f64, f64) {
    if outside(lat, lng) {
        return (lat, lng);
    }
    let Offset { north, east, .. } = offset(lat, lng);
    (lat + north, lng + east)
}

/// WGS84 of a GCJ-02 point: three steps of Newton's method, or a few more beside the meridian 105 E, where the formula has a corner.
pub fn gcj02_to_wgs84(lat: f64, lng: f64) -> (f64, f64) {
    if outside(lat, lng) {
        return (lat, lng);
    }
    let (mut wgs_lat, mut wgs_lng) = (lat, lng);
    for _ in 0..ITERATIONS_MAX {
        let at = offset(wgs_lat, wgs_lng);
        let (lat_miss, lng_miss) = (lat - wgs_lat - at.north, lng - wgs_lng - at.east);
        let (a, b, c, d) = (1.0 + at.by_lat.0, at.by_lng.0, at.by_lat.1, 1.0 + at.by_lng.1);
        let per = 1.0 / (a * d - b * c);
        let (lat_step, lng_step) = (per * (d * lat_miss - b * lng_miss), per * (a * lng_miss - c * lat_miss));
        (wgs_lat, wgs_lng) = (wgs_lat + lat_step, wgs_lng + lng_step);
        // Each step is at least a thousand times smaller than the one before, but beside the corner.
        let close_degrees = if (wgs_lng - 105.0).abs() > 1e-6 {
            CLOSE_DEGREES * 1e3
        } else {
            CLOSE_DEGREES
        };
        if lat_step.abs().max(lng_step.abs()) < close_degrees {
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

    #[test]
    fn the_way_back_is_exact_beside_the_meridian_with_a_corner() {
        for away in [0.0, 1e-12, -1e-10, 1e-8, -1e-7, 1e-5, -1e-3] {
            // Where the shifted point meets 105 E, and where the point itself does.
            for lng in [105.0 + away, gcj02_to_wgs84(36.0, 105.0 + away).1] {
                let (gcj_lat, gcj_lng) = wgs84_to_gcj02(36.0, lng);
                let (back_lat, back_lng) = gcj02_to_wgs84(gcj_lat, gcj_lng);
                assert!(
                    (back_lat - 36.0).abs() < 1e-11 && (back_lng - lng).abs() < 1e-11,
                    "{lng}"
                );
            }
        }
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
