//! One argument or result of one row.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayBuilder, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Float64Array, Float64Builder,
    Int64Array, Int64Builder, ListBuilder, StringArray, StructBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use h3o::{CellIndex, DirectedEdgeIndex, Resolution};

/// Type of an argument or result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An H3 cell, BIGINT; given as text it is read as hexadecimal.
    Cell,
    /// BIGINT
    Int,
    /// DOUBLE
    Double,
    /// TEXT
    Text,
    /// BOOLEAN
    Bool,
    /// BYTEA
    Bytes,
    /// A list of cells.
    Cells,
    /// Lists of cells: element k holds those k steps away.
    Rings,
    /// A struct of latitude and longitude, degrees.
    Place,
    /// A list of such structs.
    Places,
}

/// An element of lists, as DataFusion names it.
fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn place_fields() -> Fields {
    Fields::from(vec![
        Field::new("lat", DataType::Float64, true),
        Field::new("lng", DataType::Float64, true),
    ])
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Cell | Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Bytes => DataType::Binary,
            Self::Cells => list_of(DataType::Int64),
            Self::Rings => list_of(list_of(DataType::Int64)),
            Self::Place => DataType::Struct(place_fields()),
            Self::Places => list_of(DataType::Struct(place_fields())),
        }
    }

    /// The SQL type.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Cell | Self::Int => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bool => "BOOLEAN",
            Self::Bytes => "BYTEA",
            Self::Cells => "BIGINT[]",
            Self::Rings => "BIGINT[][]",
            Self::Place => "STRUCT<lat DOUBLE, lng DOUBLE>",
            Self::Places => "STRUCT<lat DOUBLE, lng DOUBLE>[]",
        }
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A cell or a number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Bool(bool),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Cells.
    Cells(Vec<i64>),
    /// Cells by their distance.
    Rings(Vec<Vec<i64>>),
    /// Latitude and longitude, degrees.
    Place(f64, f64),
    /// Several of them.
    Places(Vec<(f64, f64)>),
}

/// What is wrong with an argument; never quotes it.
pub type Problem = &'static str;

impl Value {
    /// As a cell.
    pub fn cell(&self) -> Result<CellIndex, Problem> {
        match self {
            Self::Int(value) => CellIndex::try_from(*value as u64).map_err(|_invalid| "no valid H3 cell"),
            Self::Text(text) => u64::from_str_radix(text.trim(), 16)
                .ok()
                .and_then(|value| CellIndex::try_from(value).ok())
                .ok_or("no valid H3 cell"),
            _ => Err("no valid H3 cell"),
        }
    }

    /// As a whole number.
    pub fn int(&self) -> Result<i64, Problem> {
        match self {
            Self::Int(value) => Ok(*value),
            _ => Err("not a whole number"),
        }
    }

    /// As a number.
    pub fn double(&self) -> Result<f64, Problem> {
        match self {
            Self::Double(value) => Ok(*value),
            Self::Int(value) => Ok(*value as f64),
            _ => Err("not a number"),
        }
    }

    /// As a text.
    pub fn text(&self) -> Result<&str, Problem> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err("not a text"),
        }
    }

    /// As yes or no.
    pub fn bool(&self) -> Result<bool, Problem> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err("neither true nor false"),
        }
    }

    /// As bytes.
    pub fn bytes(&self) -> Result<&[u8], Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("no bytes"),
        }
    }

    /// As an edge from one cell to its neighbour.
    pub fn edge(&self) -> Result<DirectedEdgeIndex, Problem> {
        let bits = match self {
            Self::Int(value) => Some(*value as u64),
            Self::Text(text) => u64::from_str_radix(text.trim(), 16).ok(),
            _ => None,
        };
        bits.and_then(|bits| DirectedEdgeIndex::try_from(bits).ok())
            .ok_or("no valid H3 directed edge")
    }

    /// As cells.
    pub fn cells(&self) -> Result<Vec<CellIndex>, Problem> {
        match self {
            Self::Cells(cells) => cells.iter().map(|&cell| Self::Int(cell).cell()).collect(),
            _ => Err("not a list of cells"),
        }
    }

    /// As an H3 resolution.
    pub fn resolution(&self) -> Result<Resolution, Problem> {
        u8::try_from(self.int()?)
            .ok()
            .and_then(|resolution| Resolution::try_from(resolution).ok())
            .ok_or("resolution must be 0 to 15")
    }

    /// Of a cell.
    pub fn of_cell(cell: CellIndex) -> Self {
        Self::Int(u64::from(cell) as i64)
    }

    /// Of cells.
    pub fn of_cells(cells: impl IntoIterator<Item = CellIndex>) -> Self {
        Self::Cells(cells.into_iter().map(|cell| u64::from(cell) as i64).collect())
    }
}

/// The value of one row of an array.
pub fn read(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let cells = array.as_list::<i32>().value(row);
            Value::Cells(cells.as_primitive::<Int64Type>().iter().flatten().collect())
        }
        _ => Value::Null,
    }
}

/// Values of one kind as an array.
pub fn write(kind: Kind, values: Vec<Value>) -> ArrayRef {
    match kind {
        Kind::Cell | Kind::Int => Arc::new(values.iter().map(|value| value.int().ok()).collect::<Int64Array>()),
        Kind::Double => Arc::new(values.iter().map(|value| value.double().ok()).collect::<Float64Array>()),
        Kind::Text => Arc::new(values.iter().map(|value| value.text().ok()).collect::<StringArray>()),
        Kind::Bool => Arc::new(values.iter().map(|value| value.bool().ok()).collect::<BooleanArray>()),
        Kind::Bytes => Arc::new(values.iter().map(|value| value.bytes().ok()).collect::<BinaryArray>()),
        Kind::Cells => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            for value in values {
                match value {
                    Value::Cells(cells) => {
                        lists.values().append_slice(&cells);
                        lists.append(true);
                    }
                    _ => lists.append(false),
                }
            }
            Arc::new(lists.finish())
        }
        Kind::Rings => {
            let mut lists = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
            for value in values {
                let Value::Rings(rings) = value else {
                    lists.append(false);
                    continue;
                };
                for ring in rings {
                    lists.values().values().append_slice(&ring);
                    lists.values().append(true);
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        }
        Kind::Place => {
            let mut places = places_builder();
            for value in values {
                match value {
                    Value::Place(lat, lng) => append_place(&mut places, Some((lat, lng))),
                    _ => append_place(&mut places, None),
                }
            }
            Arc::new(places.finish())
        }
        Kind::Places => {
            let mut lists = ListBuilder::new(places_builder());
            for value in values {
                let Value::Places(places) = value else {
                    lists.append(false);
                    continue;
                };
                for place in places {
                    append_place(lists.values(), Some(place));
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        }
    }
}

fn places_builder() -> StructBuilder {
    let numbers = || Box::new(Float64Builder::new()) as Box<dyn ArrayBuilder>;
    StructBuilder::new(place_fields(), vec![numbers(), numbers()])
}

fn append_place(places: &mut StructBuilder, place: Option<(f64, f64)>) {
    for (index, number) in [place.map(|(lat, _)| lat), place.map(|(_, lng)| lng)]
        .into_iter()
        .enumerate()
    {
        if let Some(numbers) = places.field_builder::<Float64Builder>(index) {
            numbers.append_option(number);
        }
    }
    places.append(place.is_some());
}
