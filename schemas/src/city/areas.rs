//! Boundary layers of the city folder.

use std::path::Path;
use std::sync::Arc;

use super::FolderFiles;
use super::config::AreaLayer;
use crate::place::area::{AreaFile, AreaIndex, AreaReport};
use crate::place::datum::Datum;

/// One level of boundaries, read and indexed.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The layer as `city.yaml` has it.
    pub config: AreaLayer,
    /// Its areas, ready to be asked.
    pub index: Arc<AreaIndex>,
    /// Areas that were odd, and how they were taken.
    pub reports: Vec<AreaReport>,
}

/// Reads a layer from `path`, the layer's file with its variables filled in.
pub(super) fn read(files: &dyn FolderFiles, layer: &AreaLayer, path: &str) -> Result<Layer, String> {
    let datum = layer
        .datum
        .as_deref()
        .map(str::parse::<Datum>)
        .transpose()
        .map_err(|error| error.to_string())?;
    let file = AreaFile {
        level: &layer.level,
        code: &layer.code,
        name: &layer.name,
        parent: layer.parent.as_deref(),
        valid_from: layer.valid_from.as_deref(),
        valid_to: layer.valid_to.as_deref(),
        population: layer.population.as_deref(),
        datum,
    };
    let bytes = files.read(path)?;
    let is_shapefile = Path::new(path)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("shp"));
    let (areas, reports) = if is_shapefile {
        let beside = |extension: &str| files.read(&Path::new(path).with_extension(extension).to_string_lossy());
        let text = |extension: &str| {
            beside(extension)
                .ok()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        file.read_shapefile(&bytes, &beside("dbf")?, text("prj").as_deref(), text("cpg").as_deref())?
    } else {
        file.read_geojson(&bytes)?
    };
    Ok(Layer {
        config: layer.clone(),
        index: Arc::new(AreaIndex::build(areas)),
        reports,
    })
}
