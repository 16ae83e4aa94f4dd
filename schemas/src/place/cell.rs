//! An H3 cell. As text 15 hexadecimal digits, as a number BIGINT (bit 63 is 0).

use std::fmt;
use std::str::FromStr;

use h3o::{CellIndex, Resolution};
use thiserror::Error;

use super::LatLng;

/// A valid H3 cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell(CellIndex);

/// The number or text is no H3 cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no valid H3 cell")]
pub struct CellError;

impl Cell {
    /// A cell from its BIGINT.
    pub fn from_i64(value: i64) -> Result<Self, CellError> {
        CellIndex::try_from(value as u64)
            .map(Self)
            .map_err(|_invalid| CellError)
    }

    /// The cell as BIGINT.
    pub fn to_i64(self) -> i64 {
        u64::from(self.0) as i64
    }

    /// Resolution, 0 to 15.
    pub fn resolution(self) -> u8 {
        self.0.resolution().into()
    }

    /// The ancestor at a coarser (or the same) resolution.
    pub fn parent(self, resolution: u8) -> Option<Self> {
        self.0.parent(Resolution::try_from(resolution).ok()?).map(Self)
    }

    /// The cell as h3o has it.
    pub fn index(self) -> CellIndex {
        self.0
    }
}

impl From<CellIndex> for Cell {
    fn from(index: CellIndex) -> Self {
        Self(index)
    }
}

impl LatLng {
    /// The cell the point lies in; `None` where there is no such resolution.
    pub fn to_cell(self, resolution: u8) -> Option<Cell> {
        let resolution = Resolution::try_from(resolution).ok()?;
        let point = h3o::LatLng::new(self.lat(), self.lng()).ok()?;
        Some(Cell(point.to_cell(resolution)))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", u64::from(self.0))
    }
}

impl FromStr for Cell {
    type Err = CellError;

    fn from_str(text: &str) -> Result<Self, CellError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // A sign is no digit, though the parser below takes one.
        if digits.starts_with('+') {
            return Err(CellError);
        }
        let value = u64::from_str_radix(digits, 16).map_err(|_invalid| CellError)?;
        Self::from_i64(value as i64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_cell_survives_its_number_and_its_text() {
        let cell = LatLng::new(37.87, 112.55).unwrap().to_cell(9).unwrap();
        assert_eq!(Cell::from_i64(cell.to_i64()), Ok(cell));
        assert_eq!(cell.to_string().parse(), Ok(cell));
        assert_eq!(cell.to_string().len(), 15);
        assert!(cell.to_i64() > 0);
        assert_eq!(format!("0x{cell}").parse(), Ok(cell));
        for text in ["xyz", "", "0x", &format!("+{cell}"), &format!("0x0x{cell}")] {
            assert_eq!(text.parse::<Cell>(), Err(CellError));
        }
        assert_eq!(cell.parent(8).unwrap().resolution(), 8);
        assert_eq!(cell.parent(10), None);
        assert_eq!(Cell::from_i64(0), Err(CellError));
    }
}
