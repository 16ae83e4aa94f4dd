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

/// A function of one cell.
const fn of_cell(
    name: &'static str,
    aliases: &'static [&'static str],
    result: Kind,
    description: &'static str,
    example: &'static str,
    call: fn(&[Value]) -> Result<Value, Problem>,
) -> Function {
    Function {
        name,
        aliases,
        arguments: CELL,
        required: 1,
        result,
        description,
        example,
        lenient: false,
        call,
    }
}

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "h3_latlng_to_cell",
        aliases: &["h3_lat_lng_to_cell", "geotoh3"],
        arguments: PLACE,
        required: 3,
        result: Kind::Cell,
        description: "Cell of a point in WGS84 degrees",
        example: "h3_latlng_to_cell(37.87, 112.55, 9)",
        lenient: false,
        call: latlng_to_cell,
    },
    Function {
        name: "h3_try_latlng_to_cell",
        aliases: &[],
        arguments: PLACE,
        required: 3,
        result: Kind::Cell,
        description: "Cell of a point; NULL where the numbers are no point",
        example: "h3_try_latlng_to_cell(37.87, 112.55, 9)",
        lenient: true,
        call: latlng_to_cell,
    },
    Function {
        name: "h3_longlatash3",
        aliases: &["h3_fromlonglat"],
        arguments: LONGLAT,
        required: 3,
        result: Kind::Cell,
        description: "Cell of a point given as longitude, latitude",
        example: "h3_longlatash3(112.55, 37.87, 9)",
        lenient: false,
        call: longlat_to_cell,
    },
    Function {
        name: "h3_longlatash3string",
        aliases: &[],
        arguments: LONGLAT,
        required: 3,
        result: Kind::Text,
        description: "Cell of a point given as longitude, latitude, 15 hexadecimal digits",
        example: "h3_longlatash3string(112.55, 37.87, 9)",
        lenient: false,
        call: longlat_to_cell_string,
    },
    Function {
        name: "h3_latlng_to_cell_string",
        aliases: &[],
        arguments: PLACE,
        required: 3,
        result: Kind::Text,
        description: "Cell of a point, 15 hexadecimal digits",
        example: "h3_latlng_to_cell_string(37.87, 112.55, 9)",
        lenient: false,
        call: latlng_to_cell_string,
    },
    of_cell(
        "h3_h3_to_string",
        &["h3_int_to_string", "h3tostring", "h3_h3tostring"],
        Kind::Text,
        "Cell as 15 hexadecimal digits",
        "h3_h3_to_string(617700169958293503)",
        to_string,
    ),
    Function {
        name: "h3_string_to_h3",
        aliases: &["h3_string_to_int", "stringtoh3", "h3_stringtoh3"],
        arguments: &[("text", Kind::Text)],
        required: 1,
        result: Kind::Cell,
        description: "Cell of its hexadecimal digits",
        example: "h3_string_to_h3('8928308280fffff')",
        lenient: false,
        call: from_string,
    },
    Function {
        name: "h3_try_string_to_h3",
        aliases: &[],
        arguments: &[("text", Kind::Text)],
        required: 1,
        result: Kind::Cell,
        description: "Cell of its hexadecimal digits; NULL where they are none",
        example: "h3_try_string_to_h3('8928308280fffff')",
        lenient: true,
        call: from_string,
    },
    of_cell(
        "h3_cell_to_lat",
        &[],
        Kind::Double,
        "Latitude of the cell's centre, degrees",
        "h3_cell_to_lat('8928308280fffff')",
        lat,
    ),
    of_cell(
        "h3_cell_to_lng",
        &[],
        Kind::Double,
        "Longitude of the cell's centre, degrees",
        "h3_cell_to_lng('8928308280fffff')",
        lng,
    ),
    of_cell(
        "h3_cell_to_latlng",
        &["h3togeo", "h3_cell_to_point"],
        Kind::Place,
        "The cell's centre, degrees",
        "h3_cell_to_latlng('8928308280fffff')",
        latlng,
    ),
    of_cell(
        "h3_get_resolution",
        &["h3getresolution", "h3_resolution"],
        Kind::Int,
        "Resolution of the cell",
        "h3_get_resolution('8928308280fffff')",
        |values| Ok(Value::Int(resolution(values[0].cell()?))),
    ),
    of_cell(
        "h3_is_valid_cell",
        &["h3isvalid", "h3_isvalid"],
        Kind::Bool,
        "Whether it is a cell",
        "h3_is_valid_cell('8928308280fffff')",
        |values| Ok(Value::Bool(values[0].cell().is_ok())),
    ),
    of_cell(
        "h3_is_pentagon",
        &["h3ispentagon", "h3_ispentagon"],
        Kind::Bool,
        "Whether the cell is a pentagon",
        "h3_is_pentagon('8928308280fffff')",
        |values| Ok(Value::Bool(values[0].cell()?.is_pentagon())),
    ),
    of_cell(
        "h3_get_base_cell_number",
        &["h3getbasecell"],
        Kind::Int,
        "Number of the cell's base cell, 0 to 121",
        "h3_get_base_cell_number('8928308280fffff')",
        base_cell,
    ),
    Function {
        name: "h3_cell_area",
        aliases: &[],
        arguments: &[("cell", Kind::Cell), ("unit", Kind::Text)],
        required: 2,
        result: Kind::Double,
        description: "Size of the cell; unit km^2, m^2 or rads^2",
        example: "h3_cell_area('8928308280fffff', 'km^2')",
        lenient: false,
        call: area,
    },
    of_cell(
        "h3cellaream2",
        &[],
        Kind::Double,
        "Size of the cell, square metres",
        "h3cellaream2('8928308280fffff')",
        |values| Ok(Value::Double(values[0].cell()?.area_m2())),
    ),
    Function {
        name: "h3hexareakm2",
        aliases: &[],
        arguments: &[("resolution", Kind::Int)],
        required: 1,
        result: Kind::Double,
        description: "Mean size of a cell, square kilometres",
        example: "h3hexareakm2(9)",
        lenient: false,
        call: |values| Ok(Value::Double(values[0].resolution()?.area_km2())),
    },
    Function {
        name: "h3_get_hexagon_area_avg",
        aliases: &[],
        arguments: &[("resolution", Kind::Int), ("unit", Kind::Text)],
        required: 2,
        result: Kind::Double,
        description: "Mean size of a cell; unit km^2 or m^2",
        example: "h3_get_hexagon_area_avg(9, 'km^2')",
        lenient: false,
        call: area_average,
    },
];
