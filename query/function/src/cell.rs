//! Points and cells.

use h3o::{CellIndex, LatLng};

use crate::function::Function;
use crate::value::{Kind, Problem, Value};

fn point(lat: &Value, lng: &Value) -> Result<LatLng, Problem> {
    let (lat, lng) = (lat.double()?, lng.double()?);
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lng) {
        return Err("latitude must be -90 to 90 and longitude -180 to 180");
    }
    LatLng::new(lat, lng).map_err(|_invalid| "no point")
}

fn latlng_to_cell(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::of_cell(
        point(&values[0], &values[1])?.to_cell(values[2].resolution()?),
    ))
}

fn longlat_to_cell(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::of_cell(
        point(&values[1], &values[0])?.to_cell(values[2].resolution()?),
    ))
}

fn latlng_to_cell_string(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Text(
        point(&values[0], &values[1])?
            .to_cell(values[2].resolution()?)
            .to_string(),
    ))
}

fn to_string(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Text(values[0].cell()?.to_string()))
}

fn from_string(values: &[Value]) -> Result<Value, Problem> {
    values[0].cell().map(Value::of_cell)
}

fn lat(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Double(LatLng::from(values[0].cell()?).lat()))
}

fn lng(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Double(LatLng::from(values[0].cell()?).lng()))
}

fn latlng(values: &[Value]) -> Result<Value, Problem> {
    let center = LatLng::from(values[0].cell()?);
    Ok(Value::Place(center.lat(), center.lng()))
}

fn longlat_to_cell_string(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Text(
        point(&values[1], &values[0])?
            .to_cell(values[2].resolution()?)
            .to_string(),
    ))
}

fn area(values: &[Value]) -> Result<Value, Problem> {
    let cell = values[0].cell()?;
    match values[1].text()? {
        "km^2" => Ok(Value::Double(cell.area_km2())),
        "m^2" => Ok(Value::Double(cell.area_m2())),
        "rads^2" => Ok(Value::Double(cell.area_rads2())),
        _ => Err("unit must be km^2, m^2 or rads^2"),
    }
}

fn area_average(values: &[Value]) -> Result<Value, Problem> {
    let resolution = values[0].resolution()?;
    match values[1].text()? {
        "km^2" => Ok(Value::Double(resolution.area_km2())),
        "m^2" => Ok(Value::Double(resolution.area_m2())),
        _ => Err("unit must be km^2 or m^2"),
    }
}

fn base_cell(values: &[Value]) -> Result<Value, Problem> {
    Ok(Value::Int(i64::from(u8::from(values[0].cell()?.base_cell()))))
}

fn resolution(cell: CellIndex) -> i64 {
    i64::from(u8::from(cell.resolution()))
}

const PLACE: &[(&str, Kind)] = &[("lat", Kind::Double), ("lng", Kind::Double), ("resolution", Kind::Int)];
const LONGLAT: &[(&str, Kind)] = &[("lng", Kind::Double), ("lat", Kind::Double), ("resolution", Kind::Int)];
const CELL: &[(&str, Kind)] = &[("cell", Kind::Cell)];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "h3_latlng_to_cell",
        &["h3_lat_lng_to_cell", "geotoh3"],
        PLACE,
        Kind::Cell,
        "Cell of a point in WGS84 degrees",
        "h3_latlng_to_cell(37.87, 112.55, 9)",
        latlng_to_cell,
    ),
    Function::new(
        "h3_try_latlng_to_cell",
        &[],
        PLACE,
        Kind::Cell,
        "Cell of a point; NULL where the numbers are no point",
        "h3_try_latlng_to_cell(37.87, 112.55, 9)",
        latlng_to_cell,
    )
    .lenient(),
    Function::new(
        "h3_longlatash3",
        &["h3_fromlonglat"],
        LONGLAT,
        Kind::Cell,
        "Cell of a point given as longitude, latitude",
        "h3_longlatash3(112.55, 37.87, 9)",
        longlat_to_cell,
    ),
    Function::new(
        "h3_longlatash3string",
        &[],
        LONGLAT,
        Kind::Text,
        "Cell of a point given as longitude, latitude, 15 hexadecimal digits",
        "h3_longlatash3string(112.55, 37.87, 9)",
        longlat_to_cell_string,
    ),
    Function::new(
        "h3_latlng_to_cell_string",
        &[],
        PLACE,
        Kind::Text,
        "Cell of a point, 15 hexadecimal digits",
        "h3_latlng_to_cell_string(37.87, 112.55, 9)",
        latlng_to_cell_string,
    ),
    Function::new(
        "h3_h3_to_string",
        &["h3_int_to_string", "h3tostring", "h3_h3tostring"],
        CELL,
        Kind::Text,
        "Cell as 15 hexadecimal digits",
        "h3_h3_to_string(617700169958293503)",
        to_string,
    ),
    Function::new(
        "h3_string_to_h3",
        &["h3_string_to_int", "stringtoh3", "h3_stringtoh3"],
        &[("text", Kind::Text)],
        Kind::Cell,
        "Cell of its hexadecimal digits",
        "h3_string_to_h3('8928308280fffff')",
        from_string,
    ),
    Function::new(
        "h3_try_string_to_h3",
        &[],
        &[("text", Kind::Text)],
        Kind::Cell,
        "Cell of its hexadecimal digits; NULL where they are none",
        "h3_try_string_to_h3('8928308280fffff')",
        from_string,
    )
    .lenient(),
    Function::new(
        "h3_cell_to_lat",
        &[],
        CELL,
        Kind::Double,
        "Latitude of the cell's centre, degrees",
        "h3_cell_to_lat('8928308280fffff')",
        lat,
    ),
    Function::new(
        "h3_cell_to_lng",
        &[],
        CELL,
        Kind::Double,
        "Longitude of the cell's centre, degrees",
        "h3_cell_to_lng('8928308280fffff')",
        lng,
    ),
    Function::new(
        "h3_cell_to_latlng",
        &["h3togeo", "h3_cell_to_point"],
        CELL,
        Kind::Place,
        "The cell's centre, degrees",
        "h3_cell_to_latlng('8928308280fffff')",
        latlng,
    ),
    Function::new(
        "h3_get_resolution",
        &["h3getresolution", "h3_resolution"],
        CELL,
        Kind::Int,
        "Resolution of the cell",
        "h3_get_resolution('8928308280fffff')",
        |values| Ok(Value::Int(resolution(values[0].cell()?))),
    ),
    Function::new(
        "h3_is_valid_cell",
        &["h3isvalid", "h3_isvalid"],
        CELL,
        Kind::Bool,
        "Whether it is a cell",
        "h3_is_valid_cell('8928308280fffff')",
        |values| Ok(Value::Bool(values[0].cell().is_ok())),
    ),
    Function::new(
        "h3_is_pentagon",
        &["h3ispentagon", "h3_ispentagon"],
        CELL,
        Kind::Bool,
        "Whether the cell is a pentagon",
        "h3_is_pentagon('8928308280fffff')",
        |values| Ok(Value::Bool(values[0].cell()?.is_pentagon())),
    ),
    Function::new(
        "h3_get_base_cell_number",
        &["h3getbasecell"],
        CELL,
        Kind::Int,
        "Number of the cell's base cell, 0 to 121",
        "h3_get_base_cell_number('8928308280fffff')",
        base_cell,
    ),
    Function::new(
        "h3_cell_area",
        &[],
        &[("cell", Kind::Cell), ("unit", Kind::Text)],
        Kind::Double,
        "Size of the cell; unit km^2, m^2 or rads^2",
        "h3_cell_area('8928308280fffff', 'km^2')",
        area,
    ),
    Function::new(
        "h3cellaream2",
        &[],
        CELL,
        Kind::Double,
        "Size of the cell, square metres",
        "h3cellaream2('8928308280fffff')",
        |values| Ok(Value::Double(values[0].cell()?.area_m2())),
    ),
    Function::new(
        "h3hexareakm2",
        &[],
        &[("resolution", Kind::Int)],
        Kind::Double,
        "Mean size of a cell, square kilometres",
        "h3hexareakm2(9)",
        |values| Ok(Value::Double(values[0].resolution()?.area_km2())),
    ),
    Function::new(
        "h3_get_hexagon_area_avg",
        &[],
        &[("resolution", Kind::Int), ("unit", Kind::Text)],
        Kind::Double,
        "Mean size of a cell; unit km^2 or m^2",
        "h3_get_hexagon_area_avg(9, 'km^2')",
        area_average,
    ),
];
