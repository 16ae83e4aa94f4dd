//! Well-known binary: what geometry columns of other systems hold. Points, polygons and multipolygons; a Z or M coordinate is read over,
//! an SRID too.

use geo::{Coord, LineString, MultiPolygon, Polygon};

use crate::value::Problem;

const NO_WKB: Problem = "no WKB of a POLYGON or MULTIPOLYGON";
const POINT: u32 = 1;
const POLYGON: u32 = 3;
const MULTI_POLYGON: u32 = 6;
const HAS_Z: u32 = 0x8000_0000;
const HAS_M: u32 = 0x4000_0000;
const HAS_SRID: u32 = 0x2000_0000;
/// ISO writes Z, M and ZM as thousands.
const ISO_STEP: u32 = 1_000;

/// Writes a point.
pub(crate) fn of_point(lat: f64, lng: f64) -> Vec<u8> {
    let mut bytes = header(POINT);
    put(&mut bytes, Coord { x: lng, y: lat });
    bytes
}

/// Writes a polygon.
pub(crate) fn of_polygon(polygon: &Polygon) -> Vec<u8> {
    let mut bytes = header(POLYGON);
    put_rings(&mut bytes, polygon);
    bytes
}

/// Writes a multipolygon.
pub(crate) fn of_multi_polygon(polygons: &MultiPolygon) -> Vec<u8> {
    let mut bytes = header(MULTI_POLYGON);
    bytes.extend((polygons.0.len() as u32).to_le_bytes());
    for polygon in polygons {
        bytes.extend(of_polygon(polygon));
    }
    bytes
}

/// Reads a polygon or multipolygon.
pub(crate) fn to_polygons(bytes: &[u8]) -> Result<MultiPolygon, Problem> {
    let mut reader = Reader {
        rest: bytes,
        little: true,
        extra: 0,
    };
    let polygons = match reader.header()? {
        POLYGON => MultiPolygon::from(reader.polygon()?),
        MULTI_POLYGON => {
            let count = reader.count()?;
            let mut polygons = Vec::new();
            for _ in 0..count {
                if reader.header()? != POLYGON {
                    return Err(NO_WKB);
                }
                polygons.push(reader.polygon()?);
            }
            MultiPolygon(polygons)
        }
        _ => return Err(NO_WKB),
    };
    if reader.rest.is_empty() {
        Ok(polygons)
    } else {
        Err(NO_WKB)
    }
}

/// Little endian, and the kind.
fn header(kind: u32) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(kind.to_le_bytes());
    bytes
}

fn put(bytes: &mut Vec<u8>, coord: Coord) {
    bytes.extend(coord.x.to_le_bytes());
    bytes.extend(coord.y.to_le_bytes());
}

fn put_rings(bytes: &mut Vec<u8>, polygon: &Polygon) {
    bytes.extend((polygon.interiors().len() as u32 + 1).to_le_bytes());
    for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
        bytes.extend((ring.0.len() as u32).to_le_bytes());
        for &coord in &ring.0 {
            put(bytes, coord);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    little: bool,
    /// Coordinates behind x and y.
    extra: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(NO_WKB)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn count(&mut self) -> Result<u32, Problem> {
        let bytes = self.take::<4>()?;
        Ok(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn number(&mut self) -> Result<f64, Problem> {
        let bytes = self.take::<8>()?;
        Ok(if self.little {
            f64::from_le_bytes(bytes)
        } else {
            f64::from_be_bytes(bytes)
        })
    }

    /// The kind of the geometry that follows.
    fn header(&mut self) -> Result<u32, Problem> {
        self.little = match self.take::<1>()? {
            [0] => false,
            [1] => true,
            _ => return Err(NO_WKB),
        };
        let word = self.count()?;
        let kind = word & !(HAS_Z | HAS_M | HAS_SRID);
        let iso = match kind / ISO_STEP {
            0 => 0,
            1 | 2 => 1,
            3 => 2,
            _ => return Err(NO_WKB),
        };
        self.extra = iso + usize::from(word & HAS_Z != 0) + usize::from(word & HAS_M != 0);
        if word & HAS_SRID != 0 {
            self.count()?;
        }
        Ok(kind % ISO_STEP)
    }

    fn polygon(&mut self) -> Result<Polygon, Problem> {
        let count = self.count()?;
        let mut rings = Vec::new();
        for _ in 0..count {
            rings.push(self.ring()?);
        }
        let mut rings = rings.into_iter();
        let exterior = rings.next().unwrap_or_else(|| LineString(Vec::new()));
        Ok(Polygon::new(exterior, rings.collect()))
    }

    fn ring(&mut self) -> Result<LineString, Problem> {
        // Counts are what a stranger wrote: room is made for what is there, not for what is claimed.
        let count = self.count()?;
        let mut coords = Vec::new();
        for _ in 0..count {
            let (x, y) = (self.number()?, self.number()?);
            for _ in 0..self.extra {
                self.number()?;
            }
            coords.push(Coord { x, y });
        }
        Ok(LineString(coords))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use geo::polygon;

    use super::*;

    fn with_hole() -> Polygon {
        polygon!(
            exterior: [(x: 0.0, y: 0.0), (x: 4.0, y: 0.0), (x: 4.0, y: 4.0), (x: 0.0, y: 0.0)],
            interiors: [[(x: 3.0, y: 1.0), (x: 3.0, y: 2.0), (x: 2.0, y: 1.0), (x: 3.0, y: 1.0)]],
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let polygons = MultiPolygon(vec![with_hole(), with_hole()]);
        assert_eq!(to_polygons(&of_multi_polygon(&polygons)), Ok(polygons));
        assert_eq!(
            to_polygons(&of_polygon(&with_hole())),
            Ok(MultiPolygon(vec![with_hole()]))
        );
    }

    /// As PostGIS writes `SRID=4326;POLYGON Z ((1 2 9, 3 2 9, 3 4 9, 1 2 9))`, big endian, and ISO's way of Z.
    #[test]
    fn heights_srid_and_big_endian_are_understood() {
        let expected = polygon![(x: 1.0, y: 2.0), (x: 3.0, y: 2.0), (x: 3.0, y: 4.0), (x: 1.0, y: 2.0)];
        for (kind, srid) in [(HAS_Z | HAS_SRID | POLYGON, Some(4326_u32)), (ISO_STEP + POLYGON, None)] {
            let mut bytes = vec![0];
            bytes.extend(kind.to_be_bytes());
            bytes.extend(srid.map(u32::to_be_bytes).into_iter().flatten());
            bytes.extend(1_u32.to_be_bytes());
            bytes.extend(4_u32.to_be_bytes());
            for (x, y) in [(1.0_f64, 2.0_f64), (3.0, 2.0), (3.0, 4.0), (1.0, 2.0)] {
                for number in [x, y, 9.0] {
                    bytes.extend(number.to_be_bytes());
                }
            }
            assert_eq!(to_polygons(&bytes), Ok(MultiPolygon(vec![expected.clone()])));
        }
    }

    #[test]
    fn damaged_bytes_are_refused_without_making_room_for_what_they_claim() {
        let whole = of_multi_polygon(&MultiPolygon(vec![with_hole()]));
        for end in 0..whole.len() {
            assert_eq!(to_polygons(whole.get(..end).unwrap()), Err(NO_WKB), "{end}");
        }
        let mut claims = header(POLYGON);
        claims.extend([0xff; 4]);
        assert_eq!(to_polygons(&claims), Err(NO_WKB));
        assert_eq!(to_polygons(&of_point(1.0, 2.0)), Err(NO_WKB));
    }
}
