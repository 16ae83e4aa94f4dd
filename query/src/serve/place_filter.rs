//! Which cells a request asks for.

use std::collections::BTreeSet;

use h3o::geom::{ContainmentMode, TilerBuilder};
use shiyu_schemas::city::City;
use shiyu_schemas::place::cell::Cell;
use shiyu_schemas::v1;
use tonic::Status;

/// Cells of one filter at most.
const CELLS_MAX: usize = 1_000_000;

/// The cells of a place, at the view's resolution.
#[derive(Debug)]
pub enum CellFilter {
    /// The whole city.
    Everywhere,
    /// These cells. Of an area or a box: every cell that overlaps it.
    Cells(BTreeSet<i64>),
}

impl CellFilter {
    /// The cells of a request's place.
    pub fn of(place: Option<&v1::PlaceFilter>, city: &City, resolution: u8) -> Result<Self, Status> {
        let Some(place) = place.and_then(|place| place.place.as_ref()) else {
            return Ok(Self::Everywhere);
        };
        match place {
            v1::place_filter::Place::Cells(list) => list
                .cells
                .iter()
                .map(|text| {
                    let cell: Cell = text
                        .parse()
                        .map_err(|_invalid| Status::invalid_argument(format!("\"{text}\" is no H3 cell")))?;
                    if cell.resolution() == resolution {
                        Ok(cell.to_i64())
                    } else {
                        Err(Status::invalid_argument(format!(
                            "cell \"{text}\" is not of resolution {resolution}"
                        )))
                    }
                })
                .collect::<Result<BTreeSet<_>, _>>()
                .map(Self::Cells),
            v1::place_filter::Place::Area(name) => {
                let mut cells = BTreeSet::new();
                let mut found = false;
                for area in city.areas_named(&name.level, &name.code) {
                    found = true;
                    cover(area.polygon().iter().cloned(), resolution, &mut cells)?;
                }
                if found {
                    Ok(Self::Cells(cells))
                } else {
                    Err(Status::not_found(format!(
                        "no area \"{}\" of level \"{}\"",
                        name.code, name.level
                    )))
                }
            }
            v1::place_filter::Place::Box(bounds) => {
                if !(bounds.south < bounds.north && bounds.west < bounds.east) {
                    return Err(Status::invalid_argument("box: south < north and west < east"));
                }
                let rectangle = geo::Rect::new((bounds.west, bounds.south), (bounds.east, bounds.north)).to_polygon();
                let mut cells = BTreeSet::new();
                cover(std::iter::once(rectangle), resolution, &mut cells)?;
                Ok(Self::Cells(cells))
            }
        }
    }

    /// Whether a cell is asked for.
    pub fn contains(&self, cell: i64) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Cells(cells) => cells.contains(&cell),
        }
    }
}

fn cover(
    polygons: impl Iterator<Item = geo::Polygon>,
    resolution: u8,
    cells: &mut BTreeSet<i64>,
) -> Result<(), Status> {
    let resolution = h3o::Resolution::try_from(resolution)
        .map_err(|_invalid| Status::invalid_argument("resolution must be 0 to 15"))?;
    for polygon in polygons {
        let mut tiler = TilerBuilder::new(resolution)
            .containment_mode(ContainmentMode::Covers)
            .build();
        tiler
            .add(polygon)
            .map_err(|error| Status::invalid_argument(format!("the place has no usable shape: {error}")))?;
        if tiler.coverage_size_hint() > CELLS_MAX {
            return Err(Status::invalid_argument(format!(
                "the place has more than {CELLS_MAX} cells"
            )));
        }
        cells.extend(tiler.into_coverage().map(|cell| u64::from(cell) as i64));
    }
    Ok(())
}
