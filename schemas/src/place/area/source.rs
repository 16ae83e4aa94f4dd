//! Boundary files: GeoJSON and Shapefile, in any datum.

use std::io::Cursor;

use serde_json::Value;
use shapefile::dbase::FieldValue;

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

/// Something odd about an area, repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaReport {
    /// Code of the area.
    pub code: String,
    /// What was odd and how it was taken.
    pub problem: String,
}

/// Areas and what was odd about them.
pub type Areas = (Vec<Area>, Vec<AreaReport>);

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
        let mut shapes = Vec::with_capacity(features.len());
        for (index, feature) in features.iter().enumerate() {
            let property = |name: &str| {
                feature
                    .get("properties")
                    .and_then(|all| all.get(name))
                    .and_then(json_text)
            };
            let rings = geojson_rings(&feature["geometry"])
                .ok_or_else(|| format!("feature {index} is no Polygon or MultiPolygon"))?;
            shapes.push(self.area(index, property, rings, &datum)?);
        }
        Ok(with_reports(shapes))
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
            .read_as::<shapefile::Polygon>()
            .map_err(|error| format!("cannot read its shapes: {error}"))?;
        if shapes.len() != records.len() {
            return Err(format!(
                "it has {} shapes but {} rows in its .dbf",
                shapes.len(),
                records.len()
            ));
        }
        let areas = shapes
            .iter()
            .zip(&records)
            .enumerate()
            .map(|(index, (shape, record))| {
                let rings = shape
                    .rings()
                    .iter()
                    .map(|ring| ring.points().iter().map(|at| (at.x, at.y)).collect())
                    .collect();
                self.area(index, |name| record.get(name).and_then(dbf_text), rings, &datum)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(with_reports(areas))
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

fn with_reports(areas: Vec<Area>) -> Areas {
    use geo::Validation as _;
    let mut reports = Vec::new();
    for area in &areas {
        // Shells as the even-odd rule sees them; what is still odd is a ring that crosses itself or another.
        if let Err(problem) = area.polygon().check_validation() {
            reports.push(AreaReport {
                code: area.code.clone(),
                problem: format!("{problem}; taken by the even-odd rule"),
            });
        }
    }
    (areas, reports)
}

fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.trim().to_owned()),
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
        FieldValue::Integer(number) => Some(number.to_string()),
        FieldValue::Double(number) => Some(number.to_string()),
        _ => None,
    }
}

fn geojson_rings(geometry: &Value) -> Option<Vec<Ring>> {
    let coordinates = geometry.get("coordinates")?.as_array()?;
    let polygon = |rings: &Value| rings.as_array()?.iter().map(geojson_ring).collect::<Option<Vec<_>>>();
    match geometry.get("type")?.as_str()? {
        "Polygon" => coordinates.iter().map(geojson_ring).collect(),
        "MultiPolygon" => Some(coordinates.iter().map(polygon).collect::<Option<Vec<_>>>()?.concat()),
        _ => None,
    }
}

fn geojson_ring(ring: &Value) -> Option<Ring> {
    ring.as_array()?
        .iter()
        .map(|point| Some((point.get(0)?.as_f64()?, point.get(1)?.as_f64()?)))
        .collect()
}
