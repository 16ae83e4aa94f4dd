//! What departments' coordinates are made with. Written apart from the hub's own, with `libm`, so that one judges the other and every
//! machine has the same last bit.

use std::f64::consts::PI;

use libm::{atan2, atanh, cos, cosh, sin, sinh, sqrt};

/// GCJ-02 `(lat, lng)` of a WGS84 point inside the rectangle of the public formula, degrees.
pub fn gcj02_of(lat: f64, lng: f64) -> (f64, f64) {
    const AXIS: f64 = 6_378_245.0;
    const FLAT: f64 = 0.006_693_421_622_965_943;
    let (x, y) = (lng - 105.0, lat - 35.0);
    let shared = (20.0 * sin(6.0 * x * PI) + 20.0 * sin(2.0 * x * PI)) * 2.0 / 3.0;
    let root = sqrt(if x < 0.0 { -x } else { x });
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + shared
        + (20.0 * sin(y * PI) + 40.0 * sin(y / 3.0 * PI)) * 2.0 / 3.0
        + (160.0 * sin(y / 12.0 * PI) + 320.0 * sin(y * PI / 30.0)) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + shared
        + (20.0 * sin(x * PI) + 40.0 * sin(x / 3.0 * PI)) * 2.0 / 3.0
        + (150.0 * sin(x / 12.0 * PI) + 300.0 * sin(x / 30.0 * PI)) * 2.0 / 3.0;
    let radians = lat / 180.0 * PI;
    let sine = sin(radians);
    let magic = 1.0 - FLAT * sine * sine;
    let meridian = AXIS * (1.0 - FLAT) / (magic * sqrt(magic));
    let parallel = AXIS / sqrt(magic) * cos(radians);
    (
        lat + north * 180.0 / (meridian * PI),
        lng + east * 180.0 / (parallel * PI),
    )
}

/// Northing and easting, metres, in CGCS2000 / 3-degree Gauss-Krüger with central meridian 114° E (EPSG:4547), by Krüger's series.
pub fn plane_of(lat: f64, lng: f64) -> (f64, f64) {
    const AXIS: f64 = 6_378_137.0;
    const FLATTENING: f64 = 1.0 / 298.257_222_101;
    let n = FLATTENING / (2.0 - FLATTENING);
    let (n2, n3, n4) = (n * n, n * n * n, n * n * n * n);
    let radius = AXIS / (1.0 + n) * (1.0 + n2 / 4.0 + n4 / 64.0);
    let series = [
        n / 2.0 - 2.0 * n2 / 3.0 + 5.0 * n3 / 16.0 + 41.0 * n4 / 180.0,
        13.0 * n2 / 48.0 - 3.0 * n3 / 5.0 + 557.0 * n4 / 1_440.0,
        61.0 * n3 / 240.0 - 103.0 * n4 / 140.0,
        49_561.0 * n4 / 161_280.0,
    ];
    let sine = sin(lat / 180.0 * PI);
    let east_angle = (lng - 114.0) / 180.0 * PI;
    let eccentric = 2.0 * sqrt(n) / (1.0 + n);
    let t = sinh(atanh(sine) - eccentric * atanh(eccentric * sine));
    let xi = atan2(t, cos(east_angle));
    let eta = atanh(sin(east_angle) / sqrt(1.0 + t * t));
    let (mut north, mut east) = (xi, eta);
    for (index, factor) in series.iter().enumerate() {
        let twice = 2.0 * (index as f64 + 1.0);
        north += factor * sin(twice * xi) * cosh(twice * eta);
        east += factor * cos(twice * xi) * sinh(twice * eta);
    }
    (radius * north, 500_000.0 + radius * east)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use shiyu_schemas::place::datum::Datum;

    use super::*;

    #[test]
    fn plane_metres_lead_back_to_the_place_through_the_hubs_own_projection() {
        let datum: Datum = "EPSG:4547".parse().unwrap();
        for (lat, lng) in [(32.4, 114.6), (32.6, 114.9), (32.8, 115.24)] {
            let (north, east) = plane_of(lat, lng);
            let back = datum.to_wgs84(east, north).unwrap();
            assert!(
                (back.lat() - lat).abs() < 1e-9 && (back.lng() - lng).abs() < 1e-9,
                "{back:?}"
            );
        }
    }

    #[test]
    fn the_published_vector_is_met_and_leads_back() {
        let (lat, lng) = gcj02_of(32.0, 118.0);
        assert!((lat - 31.997_964_381_055_795).abs() < 1e-12);
        assert!((lng - 118.005_431_013_838_46).abs() < 1e-12);
        let datum: Datum = "gcj02".parse().unwrap();
        let back = datum.to_wgs84(lng, lat).unwrap();
        assert!((back.lat() - 32.0).abs() < 1e-10 && (back.lng() - 118.0).abs() < 1e-10);
    }
}
