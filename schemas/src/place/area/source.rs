//! Boundary files: GeoJSON and Shapefile, in any datum.

use std::io::Cursor;

use serde_json::Value;
use shapefile::dbase::FieldValue;
use shapefile::record::traits::HasXY;
use shapefile::{PolygonRing, Shape};

use super::report::{AreaReport, examine};
use super::{Area, Ring};
use crate::place::datum::Datum;

/// A boundary file and how to read it: names of the properties that hold what.
#[derive(Debug, Clone, Default)]
pub struct AreaFile<'a> {
    /// Level of all its areas.
    pub level: &'a str,
    /// Property of the code.
    pub code: &'a str,
    /// Property of the name.
    pub name: &'a str,
    /// Property of the parent's code.
    pub parent: Option<&'a str>,
    /// Property of the first valid day (YYYY-MM-DD).
    pub valid_from: Option<&'a str>,
    /// Property of the first day no longer valid.
    pub valid_to: Option<&'a str>,
    /// Property of the population.
    pub population: Option<&'a str>,
    /// Datum, where the file does not say.
    pub datum: Option<Datum>,
}

/// Areas and what was odd about them.
pub type Areas = (Vec<Area>, Vec<AreaReport>);

/// A boundary as its file has it: rings in the file's datum, and whether the file calls them shells.
#[derive(Default)]
struct Outline {
    rings: Vec<Ring>,
    shells: Vec<bool>,
}

impl Outline {
    fn push(&mut self, ring: Ring, is_shell: bool) {
        self.rings.push(ring);
        self.shells.push(is_shell);
    }
}

impl AreaFile<'_> {
    /// Reads GeoJSON (WGS84, unless `datum` says otherwise).
    pub fn read_geojson(&self, bytes: &[u8]) -> Result<Areas, String> {
        let root: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("cannot read it as GeoJSON: {error}"))?;
        let features = root
            .get("features")
            .and_then(Value::as_array)
            .ok_or("it has no \"features\"; give a GeoJSON FeatureCollection")?;
        let datum = self.datum.clone().unwrap_or_else(Datum::wgs84);
        let (mut areas, mut reports) = (Vec::with_capacity(features.len()), Vec::new());
        for (index, feature) in features.iter().enumerate() {
            let property = |name: &str| {
                feature
                    .get("properties")
                    .and_then(|all| all.get(name))
                    .and_then(json_text)
            };
            let outline = geojson_outline(&feature["geometry"])
                .ok_or_else(|| format!("feature {index} is no Polygon or MultiPolygon"))?;
            let area = self.area(index, property, outline.rings, &datum)?;
            reports.extend(examine(&area, &outline.shells));
            areas.push(area);
        }
        Ok((areas, reports))
    }

    /// Reads a Shapefile; `prj` gives the datum unless `datum` does, `cpg` the encoding of names (default UTF-8).
    pub fn read_shapefile(
        &self,
        shp: &[u8],
        dbf: &[u8],
        prj: Option<&str>,
        cpg: Option<&str>,
    ) -> Result<Areas, String> {
        let datum = match (&self.datum, prj) {
            (Some(datum), _) => datum.clone(),
            (None, Some(prj)) => Datum::from_prj(prj).map_err(|error| error.to_string())?,
            (None, None) => return Err("it has no .prj beside it; give its datum in the layer".to_owned()),
        };
        let encoding = cpg
            .and_then(|label| encoding_rs::Encoding::for_label(label.trim().as_bytes()))
            .unwrap_or(encoding_rs::UTF_8);
        let records = shapefile::dbase::ReaderBuilder::new()
            .with_encoding(shapefile::dbase::encoding::EncodingRs::from(encoding))
            .build(Cursor::new(dbf))
            .and_then(|mut reader| reader.read())
            .map_err(|error| format!("cannot read its .dbf: {error}"))?;
        let shapes = shapefile::ShapeReader::new(Cursor::new(shp)).map_err(|error| error.to_string())?;
        let shapes = shapes
            .read()
            .map_err(|error| format!("cannot read its shapes: {error}"))?;
        if shapes.len() != records.len() {
            return Err(format!(
                "it has {} shapes but {} rows in its .dbf",
                shapes.len(),
                records.len()
            ));
        }
        let (mut areas, mut reports) = (Vec::with_capacity(shapes.len()), Vec::new());
        for (index, (shape, record)) in shapes.iter().zip(&records).enumerate() {
            let outline =
                shape_outline(shape).ok_or_else(|| format!("shape {index} is no polygon but {}", shape.shapetype()))?;
            let area = self.area(index, |name| record.get(name).and_then(dbf_text), outline.rings, &datum)?;
            reports.extend(examine(&area, &outline.shells));
            areas.push(area);
        }
        Ok((areas, reports))
    }

    fn area(
        &self,
        index: usize,
        property: impl Fn(&str) -> Option<String>,
        rings: Vec<Ring>,
        datum: &Datum,
    ) -> Result<Area, String> {
        let needed = |name: &str| property(name).ok_or_else(|| format!("feature {index} has no property \"{name}\""));
        let code = needed(self.code)?;
        let day = |name: Option<&str>| match name.and_then(&property) {
            None => Ok(None),
            Some(text) => text
                .parse::<jiff::civil::Date>()
                .map(|date| {
                    let (year, month, day) = (i32::from(date.year()), date.month() as u32, date.day() as u32);
                    Some(crate::time::calendar::days_from_civil(year, month, day))
                })
                .map_err(|_no_date| format!("area \"{code}\": \"{text}\" is no date; write it as YYYY-MM-DD")),
        };
        let rings = rings
            .into_iter()
            .map(|ring| reproject(ring, datum).map_err(|problem| format!("area \"{code}\": {problem}")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Area {
            level: self.level.to_owned(),
            name: needed(self.name)?,
            parent: self.parent.and_then(&property),
            valid_from: day(self.valid_from)?,
            valid_to: day(self.valid_to)?,
            population: self
                .population
                .and_then(&property)
                .and_then(|text| text.parse::<f64>().ok())
                .map(|n| n as i64),
            rings,
            code,
        })
    }
}

fn reproject(ring: Ring, datum: &Datum) -> Result<Ring, String> {
    let mut points = ring
        .into_iter()
        .map(|(x, y)| datum.to_wgs84(x, y).map(|point| (point.lng(), point.lat())))
        .collect::<Result<Ring, _>>()
        .map_err(|error| error.to_string())?;
    if points.len() < 3 {
        return Err("a ring has fewer than three points".to_owned());
    }
    if points.first() != points.last() {
        points.push(points[0]);
    }
    Ok(points)
}

fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.trim().to_owned()),
        // Some writers give every number a fraction: 35.0 is the code 35, as in a .dbf.
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| number.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn dbf_text(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::Character(text) => text
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        FieldValue::Numeric(number) => number.map(|number| number.to_string()),
        FieldValue::Float(number) => number.map(|number| number.to_string()),
        FieldValue::Date(date) => date.map(|date| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())),
        FieldValue::Integer(number) => Some(number.to_string()),
        FieldValue::Double(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The rings of a polygon of any kind; heights and measures are left out.
fn shape_outline(shape: &Shape) -> Option<Outline> {
    fn outline<P: HasXY>(rings: &[PolygonRing<P>]) -> Outline {
        let mut outline = Outline::default();
        for ring in rings {
            let points = ring.points().iter().map(|point| (point.x(), point.y()));
            outline.push(points.collect(), matches!(ring, PolygonRing::Outer(_)));
        }
        outline
    }
    match shape {
        Shape::Polygon(polygon) => Some(outline(polygon.rings())),
        Shape::PolygonM(polygon) => Some(outline(polygon.rings())),
        Shape::PolygonZ(polygon) => Some(outline(polygon.rings())),
        _ => None,
    }
}

fn geojson_outline(geometry: &Value) -> Option<Outline> {
    let coordinates = geometry.get("coordinates")?;
    let polygons = match geometry.get("type")?.as_str()? {
        "Polygon" => std::slice::from_ref(coordinates),
        "MultiPolygon" => coordinates.as_array()?,
        _ => return None,
    };
    let mut outline = Outline::default();
    for polygon in polygons {
        for (index, ring) in polygon.as_array()?.iter().enumerate() {
            outline.push(geojson_ring(ring)?, index == 0);
        }
    }
    Some(outline)
}

fn geojson_ring(ring: &Value) -> Option<Ring> {
    ring.as_array()?
        .iter()
        .map(|point| Some((point.get(0)?.as_f64()?, point.get(1)?.as_f64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;
    use shapefile::dbase;
    use shapefile::{Point, Polygon};

    use super::super::tests::square;
    use super::*;

    const FILE: AreaFile<'_> = AreaFile {
        level: "district",
        code: "CODE",
        name: "NAME",
        parent: None,
        valid_from: Some("FROM"),
        valid_to: None,
        population: None,
        datum: None,
    };

    fn geojson(kind: &str, coordinates: &Value) -> Vec<u8> {
        let feature = json!({
            "type": "Feature",
            "properties": { "CODE": 35.0, "NAME": "Mitte", "FROM": "2015-03-01" },
            "geometry": { "type": kind, "coordinates": coordinates },
        });
        json!({ "type": "FeatureCollection", "features": [feature] })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_sound_boundary_is_read_without_a_report() {
        let rings = json!([square(0.0, 0.0, 3.0), square(1.0, 1.0, 1.0)]);
        let (areas, reports) = FILE.read_geojson(&geojson("Polygon", &rings)).unwrap();
        assert_eq!((areas[0].code.as_str(), areas[0].valid_from), ("35", Some(16_495)));
        assert!(areas[0].contains(0.5, 0.5) && !areas[0].contains(1.5, 1.5));
        assert_eq!(reports, []);
    }

    #[test]
    fn a_shell_inside_a_shell_is_a_hole_and_reported() {
        let rings = json!([[square(0.0, 0.0, 3.0)], [square(1.0, 1.0, 1.0)]]);
        let (areas, reports) = FILE.read_geojson(&geojson("MultiPolygon", &rings)).unwrap();
        assert!(!areas[0].contains(1.5, 1.5));
        assert!(reports[0].problem.contains("1 of its shells"), "{reports:?}");
    }

    #[test]
    fn a_hole_outside_its_shell_is_a_shell_and_reported() {
        let rings = json!([square(0.0, 0.0, 1.0), square(2.0, 2.0, 1.0)]);
        let (areas, reports) = FILE.read_geojson(&geojson("Polygon", &rings)).unwrap();
        assert!(areas[0].contains(2.5, 2.5));
        assert!(reports[0].problem.contains("1 of its holes"), "{reports:?}");
    }

    #[test]
    fn a_ring_that_crosses_itself_is_reported() {
        let rings = json!([[[0.0, 0.0], [2.0, 2.0], [2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]]);
        let (areas, reports) = FILE.read_geojson(&geojson("Polygon", &rings)).unwrap();
        // The two triangles lie left and right of the crossing.
        assert!(areas[0].contains(1.0, 0.5) && areas[0].contains(1.0, 1.5) && !areas[0].contains(1.5, 1.0));
        assert!(reports[0].problem.contains("self-intersection"), "{reports:?}");
    }

    #[test]
    fn coordinates_that_are_no_degrees_are_refused_and_name_the_area() {
        let bytes = geojson("Polygon", &json!([square(500_000.0, 4_000_000.0, 1000.0)]));
        assert!(FILE.read_geojson(&bytes).unwrap_err().contains("area \"35\""));
        let file = AreaFile {
            datum: Some("EPSG:4547".parse().unwrap()),
            ..FILE
        };
        let (areas, _) = file.read_geojson(&bytes).unwrap();
        assert!(areas[0].contains(36.135, 114.005));
    }

    #[test]
    fn a_shapefile_is_read_with_its_datum_its_encoding_and_its_dates() {
        let field = |name: &str| dbase::FieldName::try_from(name).unwrap();
        let (mut shp, mut dbf) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        let gbk = dbase::encoding::EncodingRs::from(encoding_rs::GBK);
        let mut rows = dbase::TableWriterBuilder::with_encoding(gbk)
            .add_character_field(field("NAME"), 20)
            .add_numeric_field(field("CODE"), 12, 0)
            .add_date_field(field("FROM"))
            .build_with_dest(&mut dbf);
        let mut record = dbase::Record::default();
        record.insert("NAME".to_owned(), FieldValue::Character(Some("城东街道".to_owned())));
        record.insert("CODE".to_owned(), FieldValue::Numeric(Some(110_101_001_000.0)));
        record.insert(
            "FROM".to_owned(),
            FieldValue::Date(Some(dbase::Date::new(1, 3, 2015).unwrap())),
        );
        rows.write_record(&record).unwrap();
        drop(rows);
        let points = square(500_000.0, 4_000_000.0, 1000.0)
            .into_iter()
            .map(|(x, y)| Point::new(x, y))
            .collect();
        shapefile::ShapeWriter::new(&mut shp)
            .write_shapes(&[Polygon::new(PolygonRing::Outer(points))])
            .unwrap();

        let file = AreaFile {
            datum: Some("EPSG:4547".parse().unwrap()),
            ..FILE
        };
        let (areas, reports) = file
            .read_shapefile(&shp.into_inner(), &dbf.into_inner(), None, Some("GBK"))
            .unwrap();
        let area = &areas[0];
        assert_eq!((area.code.as_str(), area.name.as_str()), ("110101001000", "城东街道"));
        assert_eq!(area.valid_from, Some(16_495));
        assert!(area.contains(36.135, 114.005));
        assert_eq!(reports, []);
    }
}
