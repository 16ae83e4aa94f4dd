//! `.prj` files: WKT 1 of a projected or geographic system as a proj string.

use super::DatumError;

/// The proj string of a `.prj` file's text.
pub fn proj_string(text: &str) -> Result<String, DatumError> {
    let name = quoted(text).unwrap_or("?").to_owned();
    let unusable = |problem: &str| DatumError::Unusable {
        text: name.clone(),
        problem: problem.to_owned(),
    };
    let upper = text.to_ascii_uppercase();
    let (axis, flattening) =
        spheroid(&upper).ok_or_else(|| unusable("it has no SPHEROID; give a proj string instead"))?;
    // Datums on older ellipsoids (Beijing 1954, Xian 1980) lie tens of metres off WGS84, and a shift is local: never guess it.
    if (axis - 6_378_137.0).abs() > 0.5 {
        return Err(unusable(
            "it is on an older ellipsoid; give a proj string with its +towgs84 shift instead",
        ));
    }
    let base = format!("+a={axis} +rf={flattening} +towgs84=0,0,0");
    if upper.trim_start().starts_with("GEOGCS") {
        return Ok(format!("+proj=longlat {base} +no_defs"));
    }
    let projection = after(&upper, "PROJECTION[").and_then(quoted).unwrap_or_default();
    let parameter = |names: &[&str]| names.iter().find_map(|name| parameter(&upper, name));
    let proj = match projection {
        "TRANSVERSE_MERCATOR" | "GAUSS_KRUGER" => "tmerc",
        "LAMBERT_CONFORMAL_CONIC" | "LAMBERT_CONFORMAL_CONIC_2SP" | "LAMBERT_CONFORMAL_CONIC_1SP" => "lcc",
        "MERCATOR_AUXILIARY_SPHERE" => {
            return Ok(
                "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +units=m +no_defs".to_owned(),
            );
        }
        other => {
            return Err(unusable(&format!(
                "the projection {other} is not known here; give a proj string instead"
            )));
        }
    };
    let unit = upper
        .rfind("UNIT[")
        .and_then(|start| number_behind_comma(&upper[start..]))
        .ok_or_else(|| unusable("it has no UNIT"))?;
    // proj takes false eastings in metres, WKT gives them in the system's own unit.
    let metres = |names: &[&str]| parameter(names).unwrap_or(0.0) * unit;
    let mut proj_text = format!(
        "+proj={proj} +lat_0={} +lon_0={} +x_0={} +y_0={}",
        parameter(&["LATITUDE_OF_ORIGIN", "LATITUDE_OF_CENTER"]).unwrap_or(0.0),
        parameter(&["CENTRAL_MERIDIAN", "LONGITUDE_OF_CENTER"]).unwrap_or(0.0),
        metres(&["FALSE_EASTING"]),
        metres(&["FALSE_NORTHING"]),
    );
    if let Some(scale) = parameter(&["SCALE_FACTOR"]) {
        proj_text.push_str(&format!(" +k={scale}"));
    }
    for (name, key) in [("STANDARD_PARALLEL_1", "lat_1"), ("STANDARD_PARALLEL_2", "lat_2")] {
        if let Some(value) = parameter(&[name]) {
            proj_text.push_str(&format!(" +{key}={value}"));
        }
    }
    Ok(format!("{proj_text} {base} +to_meter={unit} +no_defs"))
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

fn number_behind_comma(text: &str) -> Option<f64> {
    numbers(text).next()
}

fn spheroid(text: &str) -> Option<(f64, f64)> {
    let mut values = numbers(after(text, "SPHEROID[")?);
    Some((values.next()?, values.next()?))
}

fn parameter(text: &str, name: &str) -> Option<f64> {
    after(text, &format!("PARAMETER[\"{name}\"")).and_then(number_behind_comma)
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
    fn an_older_ellipsoid_without_its_shift_is_refused() {
        let text = MISSOURI_EAST.replace("6378137.0,298.257222101", "6378245.0,298.3");
        assert!(Datum::from_prj(&text).unwrap_err().to_string().contains("+towgs84"));
    }

    #[test]
    fn an_unknown_projection_says_what_to_do() {
        let text = MISSOURI_EAST.replace("Transverse_Mercator", "Robinson");
        assert!(Datum::from_prj(&text).unwrap_err().to_string().contains("proj string"));
    }
}
