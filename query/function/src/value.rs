//! One argument or result of one row.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, Int64Builder, ListBuilder, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use h3o::{CellIndex, Resolution};

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
    /// A list of cells.
    Cells,
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Cell | Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Cells => DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
        }
    }

    /// The SQL type.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Cell | Self::Int => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bool => "BOOLEAN",
            Self::Cells => "BIGINT[]",
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
    /// Cells.
    Cells(Vec<i64>),
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
        Kind::Bool => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Bool(value) => Some(*value),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
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
    }
}
