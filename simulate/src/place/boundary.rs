//! GeoJSON of every level. Boundaries that change carry the days between which they hold.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::land::{CHANGE_DATE, Land, Stands};
use super::mesh::{Block, Point, rings_around};

/// Level and text of a boundary file.
pub type BoundaryFile = (&'static str, String);

/// All levels, coarse to fine.
pub fn files(land: &Land) -> Vec<BoundaryFile> {
    vec![
        ("district", districts(land)),
        ("town", towns(land)),
        ("community", communities(land)),
        ("grid", grids(land)),
    ]
}

struct Feature<'a> {
    code: &'a str,
    name: &'a str,
    parent: &'a str,
    stands: Stands,
    /// Rings of points, not closed.
    rings: Vec<Vec<Point>>,
}

fn districts(land: &Land) -> String {
    collection(land.districts.iter().map(|district| Feature {
        code: &district.code,
        name: district.name,
        parent: "",
        stands: Stands::Always,
        rings: block_rings(land, district.block),
    }))
}

fn towns(land: &Land) -> String {
    collection(land.towns.iter().map(|town| Feature {
        code: &town.code,
        name: &town.name,
        parent: &land.districts[town.district].code,
        stands: Stands::Always,
        rings: block_rings(land, town.block),
    }))
}

fn communities(land: &Land) -> String {
    let changed: BTreeSet<usize> = land
        .grids
        .iter()
        .filter(|grid| grid.stands != Stands::Always)
        .map(|grid| grid.community)
        .collect();
    let mut features = Vec::new();
    for (index, community) in land.communities.iter().enumerate() {
        let mut push = |stands, rings| {
            features.push(Feature {
                code: &community.code,
                name: &community.name,
                parent: &land.towns[community.town].code,
                stands,
                rings,
            });
        };
        if changed.contains(&index) {
            for (stands, after) in [(Stands::Before, false), (Stands::After, true)] {
                push(stands, fine_rings(land, &land.quads_of(index, after)));
            }
        } else {
            push(Stands::Always, block_rings(land, community.block));
        }
    }
    collection(features.into_iter())
}

fn grids(land: &Land) -> String {
    collection(land.grids.iter().map(|grid| Feature {
        code: &grid.code,
        name: &grid.code,
        parent: &land.communities[grid.community].code,
        stands: grid.stands,
        rings: fine_rings(land, &grid.quads),
    }))
}

fn block_rings(land: &Land, block: Block) -> Vec<Vec<Point>> {
    rings_around(&block.iter().collect())
        .into_iter()
        .map(|ring| {
            ring.into_iter()
                .map(|(column, row)| land.mesh.node(column, row))
                .collect()
        })
        .collect()
}

fn fine_rings(land: &Land, quads: &BTreeSet<(u32, u32)>) -> Vec<Vec<Point>> {
    rings_around(quads)
        .into_iter()
        .map(|ring| {
            ring.into_iter()
                .map(|(column, row)| land.mesh.finer_node(land.finer, column, row))
                .collect()
        })
        .collect()
}

fn collection<'a>(features: impl Iterator<Item = Feature<'a>>) -> String {
    let mut text = String::from("{\"type\":\"FeatureCollection\",\"simulated\":true,\"features\":[");
    for (index, feature) in features.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        write_feature(&mut text, &feature).expect("a String grows as needed");
    }
    text.push_str("\n]}\n");
    text
}

fn write_feature(text: &mut String, feature: &Feature<'_>) -> std::fmt::Result {
    let (from, to) = match feature.stands {
        Stands::Always => ("", ""),
        Stands::Before => ("", CHANGE_DATE),
        Stands::After => (CHANGE_DATE, ""),
    };
    write!(
        text,
        "{{\"type\":\"Feature\",\"properties\":{{\"code\":\"{}\",\"name\":\"{}\"",
        feature.code, feature.name
    )?;
    for (key, value) in [("parent", feature.parent), ("valid_from", from), ("valid_to", to)] {
        if !value.is_empty() {
            write!(text, ",\"{key}\":\"{value}\"")?;
        }
    }
    text.push_str("},\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[");
    for (index, ring) in feature.rings.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ",[" });
        for point in ring.iter().chain(ring.first()) {
            if !text.ends_with('[') {
                text.push(',');
            }
            write!(text, "[{:.7},{:.7}]", point.lng_degrees(), point.lat_degrees())?;
        }
        text.push(']');
    }
    text.push_str("]}}");
    Ok(())
}
