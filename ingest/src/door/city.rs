//! The door of a feed of a city folder; problems point into the feed's manifest.

use std::sync::Arc;

use shiyu_schemas::city::{City, CityErrors, Feed};
use shiyu_schemas::place::area::AreaIndex;
use shiyu_schemas::place::{Cell, LatLng};

use super::{AreaLookup, Door, DoorInputs, Sealer};

/// A layer of the city's boundaries.
struct CityLayer {
    level: String,
    index: Arc<AreaIndex>,
}

impl AreaLookup for CityLayer {
    fn level(&self) -> &str {
        &self.level
    }

    fn code_at(&self, point: LatLng, cell: Cell, local_date: i32) -> Option<&str> {
        self.index
            .locate_cell(point, cell, local_date)
            .map(|area| area.code.as_str())
    }
}

impl Door {
    /// Plans a feed's mapping; all problems are told at once, with file, line and column of their keys.
    pub fn compile(feed: &Feed, city: &City, sealer: Arc<dyn Sealer>) -> Result<Self, CityErrors> {
        let (crosswalk, tree) = (feed.crosswalk.clone(), city.categories.clone());
        let layers = city.layers.iter().map(|layer| {
            Arc::new(CityLayer {
                level: layer.config.level.clone(),
                index: layer.index.clone(),
            }) as Arc<dyn AreaLookup>
        });
        let inputs = DoorInputs {
            manifest: &feed.manifest,
            zone: &city.config.zone,
            bounds: city.config.bounds,
            categories: Box::new(move |source| {
                let code = crosswalk.map(source)?;
                let severity = tree.get(code).map_or(0, |category| category.severity);
                Some((code.to_owned(), u32::from(severity)))
            }),
            layers: layers.collect(),
            revision: city.revision,
        };
        Self::from_inputs(inputs, sealer).map_err(|problems| {
            let mut errors: Vec<_> = problems
                .into_iter()
                .map(|problem| feed.error_at(&problem.key, problem.message))
                .collect();
            errors.sort();
            CityErrors(errors)
        })
    }
}
