//! From a department's coordinates to WGS84.
//!
//! - [`gcj02`]: GCJ-02 and BD-09, with an exact inverse
//! - [`code`]: EPSG and ESRI codes as proj strings, made by rule
//! - [`wkt`]: `.prj` files
//!
//! CGCS2000 and NAD83 are taken for WGS84 (decimetres at most; as PROJ's default does).

pub mod code;
pub mod gcj02;
pub mod wkt;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use proj4rs::Proj;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use gcj02::{bd09_to_gcj02, bd09_to_wgs84, gcj02_to_bd09, gcj02_to_wgs84, wgs84_to_bd09, wgs84_to_gcj02};

use super::LatLng;

/// What can be wrong with a datum or with coordinates in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DatumError {
    /// The text names no datum.
    #[error(
        "cannot read datum \"{text}\"; give wgs84, gcj02, bd09, cgcs2000, EPSG:n, ESRI:n, or a proj string that starts with +proj="
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// The code is not in the table.
    #[error("cannot find datum \"{code}\" in the table; give its proj string (+proj=…) or the .prj file")]
    UnknownCode {
        /// The code.
        code: String,
    },
    /// The proj string or `.prj` cannot be used.
    #[error("cannot use datum \"{text}\": {problem}")]
    Unusable {
        /// Proj string or name in the `.prj`.
        text: String,
        /// What does not work.
        problem: String,
    },
    /// The coordinates are not in the datum's range.
    #[error("the coordinates are outside the datum's range")]
    OutOfRange,
}

/// A datum with its projection. Geographic: x = longitude, y = latitude, degrees. Projected: x = easting, y = northing, in its units.
///
/// Parsed from and written as text: `wgs84`, `gcj02`, `bd09`, `cgcs2000`, `EPSG:n`, `ESRI:n`, a proj string (`+proj=…`) or a `.prj` file's
/// WKT. A proj string whose datum is not WGS84 needs its own `+towgs84`: without one it is taken for WGS84, as PROJ does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Datum {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Wgs84,
    Gcj02,
    Bd09,
    Projected(Arc<Projection>),
}

#[derive(Debug)]
struct Projection {
    from: Proj,
    to: Proj,
    geographic: bool,
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Datum {
    /// WGS84.
    pub fn wgs84() -> Self {
        Self {
            name: "wgs84".to_owned(),
            kind: Kind::Wgs84,
        }
    }

    /// The datum of a `.prj` file's WKT.
    pub fn from_prj(text: &str) -> Result<Self, DatumError> {
        Self::from_proj(&wkt::proj_string(text)?)
    }

    fn from_proj(text: &str) -> Result<Self, DatumError> {
        let unusable = |error: proj4rs::errors::Error| DatumError::Unusable {
            text: text.to_owned(),
            problem: error.to_string(),
        };
        let from = Proj::from_proj_string(text).map_err(unusable)?;
        let to = Proj::from_proj_string("+proj=longlat +datum=WGS84 +no_defs").map_err(unusable)?;
        let geographic = from.is_latlong();
        Ok(Self {
            name: text.to_owned(),
            kind: Kind::Projected(Arc::new(Projection { from, to, geographic })),
        })
    }

    /// WGS84 of a point in this datum.
    pub fn to_wgs84(&self, x: f64, y: f64) -> Result<LatLng, DatumError> {
        let (lat, lng) = match &self.kind {
            Kind::Wgs84 => (y, x),
            Kind::Gcj02 | Kind::Bd09 => {
                // The formulas are for degrees; far outside they do not end.
                LatLng::new(y, x).map_err(|_range| DatumError::OutOfRange)?;
                if matches!(self.kind, Kind::Gcj02) {
                    gcj02_to_wgs84(y, x)
                } else {
                    bd09_to_wgs84(y, x)
                }
            }
            Kind::Projected(projection) => projection.to_wgs84(x, y)?,
        };
        LatLng::new(lat, lng).map_err(|_range| DatumError::OutOfRange)
    }

    /// WGS84 `(lat, lng)` of many points; `None` where a point is out of range. The slices have one length.
    pub fn to_wgs84_many(&self, xs: &[f64], ys: &[f64], out: &mut [Option<(f64, f64)>]) {
        for ((x, y), place) in xs.iter().zip(ys).zip(out) {
            *place = self.to_wgs84(*x, *y).ok().map(|point| (point.lat(), point.lng()));
        }
    }
}

impl Projection {
    fn to_wgs84(&self, x: f64, y: f64) -> Result<(f64, f64), DatumError> {
        if !(x.is_finite() && y.is_finite()) {
            return Err(DatumError::OutOfRange);
        }
        let mut point = if self.geographic {
            (x.to_radians(), y.to_radians(), 0.0)
        } else {
            (x, y, 0.0)
        };
        proj4rs::transform::transform(&self.from, &self.to, &mut point).map_err(|_outside| DatumError::OutOfRange)?;
        Ok((point.1.to_degrees(), point.0.to_degrees()))
    }
}

impl FromStr for Datum {
    type Err = DatumError;

    fn from_str(text: &str) -> Result<Self, DatumError> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let named = |name: &str, kind| {
            Ok(Self {
                name: name.to_owned(),
                kind,
            })
        };
        match lower.as_str() {
            "wgs84" | "wgs-84" => named("wgs84", Kind::Wgs84),
            "cgcs2000" => named("cgcs2000", Kind::Wgs84),
            "epsg:4326" | "epsg:4490" => named(&lower.to_ascii_uppercase(), Kind::Wgs84),
            "gcj02" | "gcj-02" => named("gcj02", Kind::Gcj02),
            "bd09" | "bd-09" => named("bd09", Kind::Bd09),
            code if code.starts_with("epsg:") || code.starts_with("esri:") => {
                let code: String = code.split_whitespace().collect();
                let proj = code::proj_string(&code).ok_or_else(|| DatumError::UnknownCode { code: text.to_owned() })?;
                Ok(Self {
                    name: code.to_ascii_uppercase(),
                    ..Self::from_proj(&proj)?
                })
            }
            proj if proj.starts_with("+proj=") => Self::from_proj(text),
            wkt if wkt.starts_with("projcs") || wkt.starts_with("geogcs") => Self::from_prj(text),
            _ => Err(DatumError::Unknown { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl TryFrom<String> for Datum {
    type Error = DatumError;

    fn try_from(text: String) -> Result<Self, DatumError> {
        text.parse()
    }
}

impl From<Datum> for String {
    fn from(datum: Datum) -> Self {
        datum.name
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Made by `tests/oracle/crs.py`: datum, x, y, latitude, longitude.
    const VECTORS: &str = include_str!("../../../tests/data/proj_vectors.csv");

    #[test]
    fn proj_gives_the_same_places_within_a_millimetre() {
        let mut far_m = 0.0_f64;
        let rows: Vec<&str> = VECTORS.lines().filter(|line| !line.starts_with('#')).skip(1).collect();
        assert!(rows.len() >= 200, "{} vectors", rows.len());
        for row in rows {
            let (code, numbers) = row.split_once(',').unwrap();
            let numbers: Vec<f64> = numbers.split(',').map(|number| number.parse().unwrap()).collect();
            let ours = code.parse::<Datum>().unwrap().to_wgs84(numbers[0], numbers[1]).unwrap();
            let away_m = ours.haversine_m(LatLng::new(numbers[2], numbers[3]).unwrap());
            assert!(away_m < 1e-3, "{row}: {away_m} m away");
            far_m = far_m.max(away_m);
        }
        eprintln!("farthest from PROJ: {far_m:.2e} m");
    }

    #[test]
    fn a_datum_survives_its_text() {
        for text in [
            "wgs84",
            "gcj02",
            "bd09",
            "cgcs2000",
            "EPSG:4326",
            "EPSG:4547",
            "ESRI:102696",
            "+proj=utm +zone=50",
        ] {
            let datum: Datum = text.parse().unwrap();
            assert_eq!(datum.to_string(), text);
            let json = serde_json::to_string(&datum).unwrap();
            assert_eq!(serde_json::from_str::<Datum>(&json).unwrap(), datum);
        }
        assert_eq!("epsg: 4547".parse::<Datum>().unwrap().to_string(), "EPSG:4547");
        assert!(matches!("xian80".parse::<Datum>(), Err(DatumError::Unknown { .. })));
        assert!(matches!(
            "+proj=nonsense".parse::<Datum>(),
            Err(DatumError::Unusable { .. })
        ));
    }

    #[test]
    fn what_is_out_of_range_is_left_out_of_a_batch() {
        let mut points = [None; 4];
        let datum: Datum = "EPSG:4547".parse().unwrap();
        datum.to_wgs84_many(
            &[500_000.0, f64::NAN, 1e12, 500_000.0],
            &[4e6, 4e6, 4e6, f64::INFINITY],
            &mut points,
        );
        assert_eq!(points.map(|point| point.is_some()), [true, false, false, false]);
        assert_eq!(Datum::wgs84().to_wgs84(500_000.0, 4e6), Err(DatumError::OutOfRange));
        assert_eq!(
            "gcj02".parse::<Datum>().unwrap().to_wgs84(f64::NAN, 30.0),
            Err(DatumError::OutOfRange)
        );
    }
}
