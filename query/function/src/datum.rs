//! GCJ-02, BD-09 and projections. Arguments are (lat, lng); of `to_wgs84` (x, y, datum).
//!
//! Each gives latitude and longitude as a struct; `…_lat` and `…_lng` give one of them, for clients that cannot show a struct.

use shiyu_schemas::place::datum::{
    Datum, bd09_to_gcj02, bd09_to_wgs84, gcj02_to_bd09, gcj02_to_wgs84, wgs84_to_bd09, wgs84_to_gcj02,
};

use crate::function::Function;
use crate::value::{Kind, Problem, Value};

type Shift = fn(f64, f64) -> (f64, f64);

fn shifted(shift: Shift, values: &[Value]) -> Result<(f64, f64), Problem> {
    let (lat, lng) = (values[0].double()?, values[1].double()?);
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lng) {
        return Err("latitude must be -90 to 90 and longitude -180 to 180");
    }
    Ok(shift(lat, lng))
}

fn to_wgs84(values: &[Value]) -> Result<(f64, f64), Problem> {
    let datum: Datum = values[2]
        .text()?
        .parse()
        .map_err(|_error| "unknown datum: wgs84, gcj02, bd09, cgcs2000, EPSG:n, ESRI:n or +proj=")?;
    let point = datum.to_wgs84(values[0].double()?, values[1].double()?);
    point
        .map(|point| (point.lat(), point.lng()))
        .map_err(|_error| "the coordinates are outside the datum's range")
}

const POINT: &[(&str, Kind)] = &[("lat", Kind::Double), ("lng", Kind::Double)];
const PROJECTED: &[(&str, Kind)] = &[("x", Kind::Double), ("y", Kind::Double), ("datum", Kind::Text)];

macro_rules! shifts {
    ($($both:literal $lat:literal $lng:literal $shift:ident $what:literal;)+) => {
        pub(crate) const FUNCTIONS: &[Function] = &[
            $(
                Function::new($both, &[], POINT, Kind::Place, concat!("Latitude and longitude: ", $what), concat!($both, "(37.87, 112.55)"),
                    |values| shifted($shift, values).map(|(lat, lng)| Value::Place(lat, lng))),
                Function::new($lat, &[], POINT, Kind::Double, concat!("Latitude: ", $what), concat!($lat, "(37.87, 112.55)"),
                    |values| Ok(Value::Double(shifted($shift, values)?.0))),
                Function::new($lng, &[], POINT, Kind::Double, concat!("Longitude: ", $what), concat!($lng, "(37.87, 112.55)"),
                    |values| Ok(Value::Double(shifted($shift, values)?.1))),
            )+
            Function::new("to_wgs84", &[], PROJECTED, Kind::Place, "Latitude and longitude in WGS84 of coordinates in a datum",
                "to_wgs84(584000, 3608000, 'EPSG:4547')",
                |values| to_wgs84(values).map(|(lat, lng)| Value::Place(lat, lng))),
            Function::new("to_wgs84_lat", &[], PROJECTED, Kind::Double, "Latitude in WGS84 of coordinates in a datum",
                "to_wgs84_lat(584000, 3608000, 'EPSG:4547')", |values| Ok(Value::Double(to_wgs84(values)?.0))),
            Function::new("to_wgs84_lng", &[], PROJECTED, Kind::Double, "Longitude in WGS84 of coordinates in a datum",
                "to_wgs84_lng(584000, 3608000, 'EPSG:4547')", |values| Ok(Value::Double(to_wgs84(values)?.1))),
        ];
    };
}

shifts! {
    "gcj02_to_wgs84" "gcj02_to_wgs84_lat" "gcj02_to_wgs84_lng" gcj02_to_wgs84 "GCJ-02 to WGS84";
    "wgs84_to_gcj02" "wgs84_to_gcj02_lat" "wgs84_to_gcj02_lng" wgs84_to_gcj02 "WGS84 to GCJ-02";
    "bd09_to_wgs84" "bd09_to_wgs84_lat" "bd09_to_wgs84_lng" bd09_to_wgs84 "BD-09 to WGS84";
    "wgs84_to_bd09" "wgs84_to_bd09_lat" "wgs84_to_bd09_lng" wgs84_to_bd09 "WGS84 to BD-09";
    "gcj02_to_bd09" "gcj02_to_bd09_lat" "gcj02_to_bd09_lng" gcj02_to_bd09 "GCJ-02 to BD-09";
    "bd09_to_gcj02" "bd09_to_gcj02_lat" "bd09_to_gcj02_lng" bd09_to_gcj02 "BD-09 to GCJ-02";
}
