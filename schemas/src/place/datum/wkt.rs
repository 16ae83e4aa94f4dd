//! `.prj` files: WKT 1 of a projected or geographic system as a proj string.

use std::fmt::Write as _;

use super::DatumError;

/// The proj string of a `.prj` file's text.
pub fn proj_string(text: &str) -> Result<String, DatumError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let name = quoted(text).unwrap_or(text).to_owned();
    read(&text.to_ascii_uppercase()).map_err(|problem| DatumError::Unusable { text: name, problem })
}

/// `text` is in upper case.
fn read(text: &str) -> Result<String, String> {
    if text.starts_with("GEOGCS[") {
        return Ok(format!("+proj=longlat {} +no_defs", ellipsoid_and_shift(text)?));
    }
    if !text.starts_with("PROJCS[") {
        return Err("it is no WKT 1 of a PROJCS or GEOGCS; give a proj string instead".to_owned());
    }
    let base = ellipsoid_and_shift(text)?;
    let projection = after(text, "PROJECTION[").and_then(quoted).unwrap_or("without a name");
    let proj = match projection {
        "TRANSVERSE_MERCATOR" | "GAUSS_KRUGER" => "tmerc",
        "LAMBERT_CONFORMAL_CONIC" | "LAMBERT_CONFORMAL_CONIC_2SP" | "LAMBERT_CONFORMAL_CONIC_1SP" => "lcc",
        "MERCATOR_AUXILIARY_SPHERE" => "merc",
        other => {
            return Err(format!(
                "the projection {other} is not known here; give a proj string instead"
            ));
        }
    };
    let unit = text
        .rfind("UNIT[")
        .and_then(|start| number(&text[start..]))
        .ok_or("it has no UNIT")?;
    let first = |names: &[&str]| names.iter().find_map(|name| parameter(text, name));
    // proj takes false eastings in metres, WKT gives them in the system's own unit.
    let metres = |name| parameter(text, name).unwrap_or(0.0) * unit;
    let lat_0 = first(&["LATITUDE_OF_ORIGIN", "LATITUDE_OF_CENTER"]).unwrap_or(0.0);
    let mut proj_text = format!(
        "+proj={proj} +lat_0={lat_0} +lon_0={} +x_0={} +y_0={}",
        first(&["CENTRAL_MERIDIAN", "LONGITUDE_OF_CENTER"]).unwrap_or(0.0),
        metres("FALSE_EASTING"),
        metres("FALSE_NORTHING"),
    );
    let mut add = |key: &str, value: Option<f64>| {
        if let Some(value) = value {
            write!(proj_text, " +{key}={value}").expect("a String takes what is written to it");
        }
    };
    add("k", parameter(text, "SCALE_FACTOR"));
    let parallel = parameter(text, "STANDARD_PARALLEL_1");
    match proj {
        "lcc" => {
            // The only parallel is the latitude of origin, where it is not given.
            add("lat_1", parallel.or(Some(lat_0)));
            add("lat_2", parameter(text, "STANDARD_PARALLEL_2"));
        }
        "merc" => add("lat_ts", parallel),
        _ => {}
    }
    // The auxiliary sphere is a sphere's formula on the ellipsoid's degrees: the datum stays as it is.
    let base = if proj == "merc" {
        "+a=6378137 +b=6378137 +nadgrids=@null"
    } else {
        &base
    };
    Ok(format!("{proj_text} {base} +to_meter={unit} +no_defs"))
}

/// The ellipsoid and the way to WGS84. A system on another ellipsoid than WGS84's that does not name its shift (Beijing 1954, Xian 1980,
/// NAD27) is refused: taken as it is, it errs by up to 200 m.
fn ellipsoid_and_shift(text: &str) -> Result<String, String> {
    let mut values = numbers(after(text, "SPHEROID[").unwrap_or_default());
    let (Some(axis), Some(flattening)) = (values.next(), values.next()) else {
        return Err("it has no SPHEROID; give a proj string instead".to_owned());
    };
    if after(text, "PRIMEM[")
        .and_then(number)
        .is_some_and(|longitude| longitude != 0.0)
    {
        return Err("its prime meridian is not Greenwich; give a proj string instead".to_owned());
    }
    let shift: Vec<String> = after(text, "TOWGS84[")
        .and_then(|shift| shift.split(']').next())
        .map(|shift| numbers(shift).map(|number| number.to_string()).collect())
        .unwrap_or_default();
    let is_modern = (axis - 6_378_137.0_f64).abs() < 0.01 && (flattening - 298.257_22_f64).abs() < 1e-4;
    match shift.len() {
        3 | 7 => Ok(format!("+a={axis} +rf={flattening} +towgs84={}", shift.join(","))),
        _ if is_modern => Ok(format!("+a={axis} +rf={flattening} +towgs84=0,0,0")),
        _ => {
            let datum = after(text, "DATUM[").and_then(quoted).unwrap_or("?");
            Err(format!(
                "its datum {datum} is not WGS84 and its shift is not given; give a proj string with +towgs84=…"
            ))
        }
    }
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.find(word).map(|start| &text[start + word.len()..])
}

fn quoted(text: &str) -> Option<&str> {
    let start = text.find('"')? + 1;
    let length = text[start..].find('"')?;
    Some(&text[start..start + length])
}

fn numbers(text: &str) -> impl Iterator<Item = f64> + '_ {
    text.split([',', ']', '[']).filter_map(|part| part.trim().parse().ok())
}

fn number(text: &str) -> Option<f64> {
    numbers(text).next()
}

fn parameter(text: &str, name: &str) -> Option<f64> {
    after(text, &format!("PARAMETER[\"{name}\"")).and_then(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::Datum;

    const MISSOURI_EAST: &str = r#"PROJCS["NAD_1983_StatePlane_Missouri_East_FIPS_2401_Feet",GEOGCS["GCS_North_American_1983",DATUM["D_North_American_1983",SPHEROID["GRS_1980",6378137.0,298.257222101]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["False_Easting",820208.3333333333],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",-90.5],PARAMETER["Scale_Factor",0.9999333333333333],PARAMETER["Latitude_Of_Origin",35.83333333333334],UNIT["Foot_US",0.3048006096012192]]"#;

    #[test]
    fn a_prj_file_and_its_code_name_the_same_place() {
        let by_file = Datum::from_prj(MISSOURI_EAST).unwrap();
        let by_code: Datum = "ESRI:102696".parse().unwrap();
        let a = by_file.to_wgs84(900_000.0, 1_020_000.0).unwrap();
        let b = by_code.to_wgs84(900_000.0, 1_020_000.0).unwrap();
        assert!(a.haversine_m(b) < 1e-4, "{}", a.haversine_m(b));
        assert!((38.0..39.0).contains(&a.lat()) && (-91.0..-90.0).contains(&a.lng()));
    }

    #[test]
    fn an_unknown_projection_says_what_to_do() {
        let text = MISSOURI_EAST.replace("Transverse_Mercator", "Robinson");
        assert!(Datum::from_prj(&text).unwrap_err().to_string().contains("proj string"));
    }

    const LAMBERT_2SP: &str = r#"PROJCS["Lambert",GEOGCS["GCS",DATUM["D_unknown",SPHEROID["GRS80",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["Degree",0.017453292519943295]],PROJECTION["Lambert_Conformal_Conic"],PARAMETER["standard_parallel_1",41.71666666666667],PARAMETER["standard_parallel_2",42.68333333333333],PARAMETER["latitude_of_origin",41],PARAMETER["central_meridian",-71.5],PARAMETER["false_easting",200000],PARAMETER["false_northing",750000],UNIT["Meter",1]]"#;

    /// As GDAL writes it: one standard parallel, which is the latitude of origin.
    const LAMBERT_1SP: &str = r#"PROJCS["Lambert",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Lambert_Conformal_Conic_1SP"],PARAMETER["latitude_of_origin",46.8],PARAMETER["central_meridian",2.3],PARAMETER["scale_factor",0.99987742],PARAMETER["false_easting",600000],PARAMETER["false_northing",2200000],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH]]"#;

    const BEIJING_1954: &str = r#"PROJCS["Beijing_1954_3_Degree_GK_CM_114E",GEOGCS["GCS_Beijing_1954",DATUM["D_Beijing_1954",SPHEROID["Krasovsky_1940",6378245.0,298.3]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Gauss_Kruger"],PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",114.0],PARAMETER["Scale_Factor",1.0],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]"#;

    const WEB_MERCATOR: &str = r#"PROJCS["WGS_1984_Web_Mercator_Auxiliary_Sphere",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Mercator_Auxiliary_Sphere"],PARAMETER["False_Easting",0.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",0.0],PARAMETER["Standard_Parallel_1",0.0],PARAMETER["Auxiliary_Sphere_Type",0.0],UNIT["Meter",1.0]]"#;

    const GEOGRAPHIC: &str = r#"GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]"#;

    /// Metres between what a file and what a code (or proj string) make of a point.
    fn apart_m(prj: &str, other: &str, x: f64, y: f64) -> f64 {
        let place = Datum::from_prj(prj).unwrap().to_wgs84(x, y).unwrap();
        place.haversine_m(other.parse::<Datum>().unwrap().to_wgs84(x, y).unwrap())
    }

    #[test]
    fn every_projection_of_a_prj_file_meets_its_code() {
        assert!(apart_m(LAMBERT_2SP, "EPSG:26986", 236_000.0, 900_000.0) < 1e-6);
        assert!(apart_m(WEB_MERCATOR, "EPSG:3857", 12_692_251.0, 3_897_076.0) < 1e-6);
        assert!(apart_m(GEOGRAPHIC, "wgs84", 112.5, 37.8) < 1e-6);
        let one = "+proj=lcc +lat_1=46.8 +lat_0=46.8 +lon_0=2.3 +k_0=0.99987742 +x_0=600000 +y_0=2200000 +datum=WGS84";
        assert!(apart_m(LAMBERT_1SP, one, 652_000.0, 2_430_000.0) < 1e-6);
    }

    #[test]
    fn a_datum_without_its_shift_is_refused_and_with_it_shifted() {
        assert!(
            Datum::from_prj(BEIJING_1954)
                .unwrap_err()
                .to_string()
                .contains("+towgs84")
        );
        let shifted = BEIJING_1954.replace("298.3]", "298.3],TOWGS84[15.8,-154.4,-82.3,0,0,0,0]");
        let same = "+proj=tmerc +lat_0=0 +lon_0=114 +k=1 +x_0=500000 +ellps=krass +towgs84=15.8,-154.4,-82.3";
        assert!(apart_m(&shifted, same, 584_000.0, 3_608_000.0) < 1e-6);
        assert!(apart_m(&shifted, "EPSG:4547", 584_000.0, 3_608_000.0) > 10.0);
    }

    #[test]
    fn text_that_is_no_prj_file_is_refused() {
        for text in ["", "PROJCRS[\"x\"]", "PROJCS[\"x\"]", "{}"] {
            Datum::from_prj(text).unwrap_err();
        }
    }
}
