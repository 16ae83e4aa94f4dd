//! EPSG and ESRI codes as proj strings, made by rule: the codes departments use. Others: give the proj string.

/// Metres of a US survey foot.
const US_FOOT: &str = "+units=us-ft";
const METRE: &str = "+units=m";
const NAD83: &str = "+ellps=GRS80 +towgs84=0,0,0";
/// CGCS2000's ellipsoid.
const CGCS2000: &str = "+a=6378137 +rf=298.257222101 +towgs84=0,0,0";

/// The proj string of a code such as `epsg:4547` (lower case).
pub fn proj_string(code: &str) -> Option<String> {
    let (authority, number) = code.split_once(':')?;
    let number: u32 = number.trim().parse().ok()?;
    match authority {
        "epsg" => epsg(number),
        // NAD 1983 StatePlane Missouri East, US survey feet; EPSG has this zone in metres only.
        "esri" if number == 102_696 => Some(missouri_east("+x_0=250000", US_FOOT)),
        _ => None,
    }
}

fn epsg(number: u32) -> Option<String> {
    Some(match number {
        4269 => format!("+proj=longlat {NAD83} +no_defs"),
        3857 => {
            "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +no_defs"
                .to_owned()
        }
        3435 => illinois_east(US_FOOT),
        26_971 => illinois_east(METRE),
        2249 => massachusetts_mainland(US_FOOT),
        26_986 => massachusetts_mainland(METRE),
        26_996 => missouri_east("+x_0=250000", METRE),
        4491..=4554 => gauss_krueger(number),
        32_601..=32_660 => utm(number - 32_600, ""),
        32_701..=32_760 => utm(number - 32_700, "+south"),
        26_901..=26_923 => format!("+proj=utm +zone={} {NAD83} +units=m +no_defs", number - 26_900),
        _ => return None,
    })
}

fn utm(zone: u32, south: &str) -> String {
    format!("+proj=utm +zone={zone} {south} +datum=WGS84 +units=m +no_defs")
}

fn illinois_east(units: &str) -> String {
    format!(
        "+proj=tmerc +lat_0=36.6666666666666667 +lon_0=-88.3333333333333333 +k=0.999975 +x_0=300000 +y_0=0 {NAD83} {units} +no_defs"
    )
}

fn massachusetts_mainland(units: &str) -> String {
    format!(
        "+proj=lcc +lat_1=42.6833333333333333 +lat_2=41.7166666666666667 +lat_0=41 +lon_0=-71.5 +x_0=200000 +y_0=750000 {NAD83} {units} +no_defs"
    )
}

fn missouri_east(false_easting: &str, units: &str) -> String {
    format!(
        "+proj=tmerc +lat_0=35.8333333333333333 +lon_0=-90.5 +k=0.999933333333333 {false_easting} +y_0=0 {NAD83} {units} +no_defs"
    )
}

/// CGCS2000 Gauss-Krüger. 4491–4501: 6-degree zones 13–23 with the zone's number before the easting; 4502–4512: the same by central
/// meridian; 4513–4533: 3-degree zones 25–45 with number; 4534–4554: by central meridian.
fn gauss_krueger(number: u32) -> String {
    let (meridian, false_easting) = match number {
        4491..=4501 => (75 + 6 * (number - 4491), (number - 4491 + 13) * 1_000_000 + 500_000),
        4502..=4512 => (75 + 6 * (number - 4502), 500_000),
        4513..=4533 => (75 + 3 * (number - 4513), (number - 4513 + 25) * 1_000_000 + 500_000),
        _ => (75 + 3 * (number - 4534), 500_000),
    };
    format!("+proj=tmerc +lat_0=0 +lon_0={meridian} +k=1 +x_0={false_easting} +y_0=0 {CGCS2000} +units=m +no_defs")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::Datum;

    #[test]
    fn zone_numbers_and_central_meridians_name_the_same_place() {
        let by_meridian: Datum = "EPSG:4547".parse().unwrap();
        let by_zone: Datum = "EPSG:4526".parse().unwrap();
        let a = by_meridian.to_wgs84(584_000.0, 3_608_000.0).unwrap();
        let b = by_zone.to_wgs84(38_584_000.0, 3_608_000.0).unwrap();
        assert!(a.haversine_m(b) < 1e-6);
    }

    #[test]
    fn every_code_of_the_table_can_be_used() {
        for code in (4491..=4554).chain([4269, 3857, 3435, 26971, 2249, 26986, 26996, 32650, 32750, 26916]) {
            format!("EPSG:{code}").parse::<Datum>().unwrap();
        }
        "ESRI:102696".parse::<Datum>().unwrap();
        assert!(
            "EPSG:1"
                .parse::<Datum>()
                .unwrap_err()
                .to_string()
                .contains("proj string")
        );
    }
}
