//! EPSG and ESRI codes as proj strings, made by rule: the codes departments use. Others: give the proj string or the `.prj` file.
//!
//! Chinese codes of the older datums (Beijing 1954, Xian 1980) are left out on purpose: their shift differs from city to city.

const US_FEET: &str = "+units=us-ft";
const METRES: &str = "+units=m";
/// NAD83 and ETRS89 are taken for WGS84, as PROJ's default does.
const GRS80: &str = "+ellps=GRS80 +towgs84=0,0,0";
/// CGCS2000's ellipsoid.
const CGCS2000: &str = "+a=6378137 +rf=298.257222101 +towgs84=0,0,0";
const WEB_MERCATOR: &str =
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +no_defs";

/// A zone of the US state plane, NAD83: EPSG code in metres, EPSG code in US survey feet if there is one, projection. Where the two
/// differ, by 0.1 mm in a false origin, it is the one in metres.
struct Zone(u32, Option<u32>, &'static str);

const STATE_PLANE: [Zone; 12] = [
    // California 3 and 5
    Zone(
        26_943,
        Some(2227),
        "+proj=lcc +lat_1=38.4333333333333333 +lat_2=37.0666666666666667 +lat_0=36.5 +lon_0=-120.5 +x_0=2000000 +y_0=500000",
    ),
    Zone(
        26_945,
        Some(2229),
        "+proj=lcc +lat_1=35.4666666666666667 +lat_2=34.0333333333333333 +lat_0=33.5 +lon_0=-118 +x_0=2000000 +y_0=500000",
    ),
    // Illinois East
    Zone(
        26_971,
        Some(3435),
        "+proj=tmerc +lat_0=36.6666666666666667 +lon_0=-88.3333333333333333 +k=0.999975 +x_0=300000 +y_0=0",
    ),
    // Maryland, and Washington, D. C.
    Zone(
        26_985,
        Some(2248),
        "+proj=lcc +lat_1=39.45 +lat_2=38.3 +lat_0=37.6666666666666667 +lon_0=-77 +x_0=400000 +y_0=0",
    ),
    // Massachusetts Mainland
    Zone(
        26_986,
        Some(2249),
        "+proj=lcc +lat_1=42.6833333333333333 +lat_2=41.7166666666666667 +lat_0=41 +lon_0=-71.5 +x_0=200000 +y_0=750000",
    ),
    // Missouri East, Central, West
    Zone(
        26_996,
        None,
        "+proj=tmerc +lat_0=35.8333333333333333 +lon_0=-90.5 +k=0.999933333333333 +x_0=250000 +y_0=0",
    ),
    Zone(
        26_997,
        None,
        "+proj=tmerc +lat_0=35.8333333333333333 +lon_0=-92.5 +k=0.999933333333333 +x_0=500000 +y_0=0",
    ),
    Zone(
        26_998,
        None,
        "+proj=tmerc +lat_0=36.1666666666666667 +lon_0=-94.5 +k=0.999941176470588 +x_0=850000 +y_0=0",
    ),
    // New York Long Island
    Zone(
        32_118,
        Some(2263),
        "+proj=lcc +lat_1=41.0333333333333333 +lat_2=40.6666666666666667 +lat_0=40.1666666666666667 +lon_0=-74 +x_0=300000 +y_0=0",
    ),
    // Pennsylvania South
    Zone(
        32_129,
        Some(2272),
        "+proj=lcc +lat_1=40.9666666666666667 +lat_2=39.9333333333333333 +lat_0=39.3333333333333333 +lon_0=-77.75 +x_0=600000 +y_0=0",
    ),
    // Texas Central
    Zone(
        32_139,
        Some(2277),
        "+proj=lcc +lat_1=31.8833333333333333 +lat_2=30.1166666666666667 +lat_0=29.6666666666666667 +lon_0=-100.333333333333333 +x_0=700000 +y_0=3000000",
    ),
    // Washington North
    Zone(
        32_148,
        Some(2285),
        "+proj=lcc +lat_1=48.7333333333333333 +lat_2=47.5 +lat_0=47 +lon_0=-120.833333333333333 +x_0=500000 +y_0=0",
    ),
];

/// The proj string of a code such as `epsg:4547` (lower case).
pub fn proj_string(code: &str) -> Option<String> {
    let (authority, number) = code.split_once(':')?;
    let number: u32 = number.parse().ok()?;
    match (authority, number) {
        ("epsg", number) => epsg(number),
        ("esri", 102_100) => Some(WEB_MERCATOR.to_owned()),
        // Missouri in US survey feet; EPSG has these zones in metres only.
        ("esri", 102_696..=102_698) => {
            let zone = STATE_PLANE.iter().find(|zone| zone.0 == number - 102_696 + 26_996)?;
            Some(state_plane(zone, US_FEET))
        }
        _ => None,
    }
}

fn epsg(number: u32) -> Option<String> {
    Some(match number {
        4258 | 4269 => format!("+proj=longlat {GRS80} +no_defs"),
        3857 => WEB_MERCATOR.to_owned(),
        4491..=4554 => gauss_krueger(number),
        32_601..=32_660 => utm(number - 32_600, "+datum=WGS84"),
        32_701..=32_760 => utm(number - 32_700, "+south +datum=WGS84"),
        26_901..=26_923 => utm(number - 26_900, GRS80),
        25_828..=25_838 => utm(number - 25_800, GRS80),
        _ => {
            let zone = STATE_PLANE
                .iter()
                .find(|zone| zone.0 == number || zone.1 == Some(number))?;
            state_plane(zone, if zone.0 == number { METRES } else { US_FEET })
        }
    })
}

fn utm(zone: u32, datum: &str) -> String {
    format!("+proj=utm +zone={zone} {datum} +units=m +no_defs")
}

fn state_plane(zone: &Zone, units: &str) -> String {
    format!("{} {GRS80} {units} +no_defs", zone.2)
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
    fn every_code_of_the_table_can_be_used_and_others_say_what_to_do() {
        let zones = super::STATE_PLANE
            .iter()
            .flat_map(|zone| std::iter::once(zone.0).chain(zone.1));
        let by_rule = (4491..=4554).chain([4258, 4269, 3857, 32650, 32750, 26916, 25832]);
        for code in zones.chain(by_rule) {
            format!("EPSG:{code}").parse::<Datum>().unwrap();
        }
        for code in [102_100, 102_696, 102_697, 102_698] {
            format!("ESRI:{code}").parse::<Datum>().unwrap();
        }
        for code in ["EPSG:1", "EPSG:4610", "ESRI:1"] {
            assert!(
                code.parse::<Datum>().unwrap_err().to_string().contains("proj string"),
                "{code}"
            );
        }
    }
}
