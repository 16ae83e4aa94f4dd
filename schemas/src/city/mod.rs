//! The city folder: everything that differs between two cities, nothing of it in code.
//!
//! In reading order:
//! - [`config`]: the file `city.yaml`
//! - [`manifest`]: the files `feeds/*.yaml`
//! - [`model`]: the files `models/*.yaml`
//! - [`category`]: `categories/*.csv`: the tree and the crosswalks
//! - [`areas`]: boundary layers
//! - [`revision`]: which files were read, and their hash
//! - [`yaml`]: reading with places and remedies
//! - [`error`]: what is wrong, with file, line, column
//!
//! [`City::load`] reads a whole folder through [`FolderFiles`], so that there is no IO here.

pub mod areas;
pub mod category;
mod check;
pub mod config;
pub mod error;
pub mod manifest;
pub mod model;
pub mod revision;
pub mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use areas::Layer;
pub use category::{Category, CategoryTree, Crosswalk};
pub use error::{CityError, CityErrors};

use crate::place::area::Area;
use check::Checker;
use config::CityConfig;
use manifest::FeedManifest;
use model::RiskModel;
use revision::{ReadFile, Recorder};

/// Files of a city folder. Paths are relative to the folder, or absolute where a variable said so.
pub trait FolderFiles {
    /// Bytes of a file; the error says why it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Names of the files in a folder, sorted; none if there is no such folder.
    fn list(&self, folder: &str) -> Vec<String>;
}

/// One feed of the city.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Its manifest.
    pub manifest: FeedManifest,
    /// Path of the manifest, relative to the folder.
    pub file: String,
    /// Text of the manifest.
    pub text: String,
    /// From the department's categories to the city's.
    pub crosswalk: Arc<Crosswalk>,
}

impl Feed {
    /// A problem of the manifest, at a key given by its path, e.g. `map.occurred_at.sql`.
    pub fn error_at(&self, key: &str, problem: impl Into<String>) -> CityError {
        CityError::at(&self.file, yaml::position_of(&self.text, key), problem)
    }
}

/// A city, read and checked.
#[derive(Debug, Clone)]
pub struct City {
    /// `city.yaml`.
    pub config: CityConfig,
    /// The feeds, in order of name.
    pub feeds: Vec<Feed>,
    /// The city's category tree.
    pub categories: Arc<CategoryTree>,
    /// Boundary layers, coarse to fine.
    pub layers: Vec<Layer>,
    /// Risk models, in order of name.
    pub models: Vec<RiskModel>,
    /// What is odd but does not stop the city: a layer whose variable is not set, a repaired polygon.
    pub warnings: Vec<String>,
    /// Hash of everything that was read.
    pub revision: u64,
    /// What was read, in the order of the hash.
    pub files: Vec<ReadFile>,
}

impl City {
    /// Reads and checks a folder; all problems are told at once.
    pub fn load(files: &dyn FolderFiles, variables: &BTreeMap<String, String>) -> Result<Self, CityErrors> {
        let mut loader = Loader {
            files: Recorder::new(files),
            variables,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let city = loader.load();
        loader.errors.sort();
        let (files, revision) = loader.files.end();
        match city {
            Some(city) if loader.errors.is_empty() => Ok(Self {
                warnings: loader.warnings,
                revision,
                files,
                ..city
            }),
            _ => Err(CityErrors(loader.errors)),
        }
    }

    /// A feed by its name.
    pub fn feed(&self, name: &str) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.manifest.feed == name)
    }

    /// All boundaries a level ever had under a code.
    pub fn areas_named<'a>(&'a self, level: &'a str, code: &'a str) -> impl Iterator<Item = &'a Arc<Area>> {
        self.layers
            .iter()
            .filter(move |layer| layer.config.level == level)
            .flat_map(|layer| layer.index.areas())
            .filter(move |area| area.code == code)
    }
}

impl fmt::Display for City {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.config.title)
    }
}

/// Fills `${NAME}` from the variables; the error names what is not set.
pub fn fill_variables(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            return Err(format!("\"{text}\" has a ${{ without its }}"));
        };
        let value = variables.get(name).ok_or_else(|| {
            format!("the variable {name} is not set; give --var {name}=… or set it in the environment")
        })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

struct Loader<'a> {
    files: Recorder<'a>,
    variables: &'a BTreeMap<String, String>,
    errors: Vec<CityError>,
    warnings: Vec<String>,
}

impl Loader<'_> {
    fn load(&mut self) -> Option<City> {
        let (config_text, config) = self.yaml::<CityConfig>("city.yaml")?;
        Checker {
            file: "city.yaml",
            text: &config_text,
            errors: &mut self.errors,
        }
        .city(&config);
        let categories = Arc::new(self.tree(&config.categories));
        let feeds = self.feeds(&config, &categories);
        let models = self.models();
        let layers = self.layers(&config, &config_text);
        Some(City {
            config,
            feeds,
            categories,
            layers,
            models,
            warnings: Vec::new(),
            revision: 0,
            files: Vec::new(),
        })
    }

    fn text(&mut self, path: &str) -> Option<String> {
        let text = self
            .files
            .read(path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_not_utf8| "it is not UTF-8".to_owned()));
        match text {
            Ok(text) => Some(text),
            Err(problem) => {
                self.errors.push(CityError::of_file(path, problem));
                None
            }
        }
    }

    fn yaml<T: serde::de::DeserializeOwned>(&mut self, path: &str) -> Option<(String, T)> {
        let text = self.text(path)?;
        match yaml::read(path, &text) {
            Ok(value) => Some((text, value)),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    fn tree(&mut self, name: &str) -> CategoryTree {
        let path = format!("categories/{name}.csv");
        let Some(text) = self.text(&path) else {
            return CategoryTree::default();
        };
        CategoryTree::read(&path, &text, &mut self.errors)
    }

    fn yaml_files(&self, folder: &str) -> Vec<String> {
        let names = self.files.list(folder);
        names
            .into_iter()
            .filter(|name| name.ends_with(".yaml"))
            .map(|name| format!("{folder}/{name}"))
            .collect()
    }

    fn feeds(&mut self, config: &CityConfig, city_tree: &CategoryTree) -> Vec<Feed> {
        let mut feeds = Vec::new();
        for file in self.yaml_files("feeds") {
            let Some((text, manifest)) = self.yaml::<FeedManifest>(&file) else {
                continue;
            };
            Checker {
                file: &file,
                text: &text,
                errors: &mut self.errors,
            }
            .feed(&manifest);
            let name = manifest.categories.as_deref().unwrap_or(&config.categories);
            let path = format!("categories/{name}.{}.csv", manifest.feed);
            let crosswalk = match self.text(&path) {
                Some(text) => Crosswalk::read(&path, &text, city_tree, &mut self.errors),
                None => Crosswalk::default(),
            };
            feeds.push(Feed {
                manifest,
                file,
                text,
                crosswalk: Arc::new(crosswalk),
            });
        }
        feeds
    }

    fn models(&mut self) -> Vec<RiskModel> {
        let mut models = Vec::new();
        for file in self.yaml_files("models") {
            let Some((text, model)) = self.yaml::<RiskModel>(&file) else {
                continue;
            };
            Checker {
                file: &file,
                text: &text,
                errors: &mut self.errors,
            }
            .model(&model);
            models.push(model);
        }
        models
    }

    fn layers(&mut self, config: &CityConfig, text: &str) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for layer in &config.areas {
            let path = match fill_variables(&layer.file, self.variables) {
                Ok(path) => path,
                Err(problem) => {
                    self.warnings
                        .push(format!("level \"{}\" is left out: {problem}", layer.level));
                    continue;
                }
            };
            self.files.below_variable(&layer.file, self.variables);
            match areas::read(&self.files, layer, &path) {
                Ok(read) => {
                    let told = read.reports.iter().map(|report| {
                        format!(
                            "level \"{}\", area \"{}\": {}",
                            layer.level, report.code, report.problem
                        )
                    });
                    self.warnings.extend(told);
                    layers.push(read);
                }
                // What lies outside the folder may be missing on this machine; what lies in it may not.
                Err(problem) if layer.file.contains("${") => {
                    self.warnings
                        .push(format!("level \"{}\" is left out: {path}: {problem}", layer.level));
                }
                Err(problem) => {
                    let place = yaml::position_of(text, "areas");
                    self.errors
                        .push(CityError::at("city.yaml", place, format!("{path}: {problem}")));
                }
            }
        }
        self.check_parents(&layers);
        layers
    }

    fn check_parents(&mut self, layers: &[Layer]) {
        for layer in layers {
            let parents = layer
                .config
                .parent_level
                .as_ref()
                .and_then(|level| layers.iter().find(|other| other.config.level == *level));
            let Some(parents) = parents else { continue };
            for area in layer.index.areas() {
                if let Some(parent) = &area.parent
                    && !parents.index.areas().iter().any(|other| other.code == *parent)
                {
                    let problem = format!("area \"{}\" has the unknown parent \"{parent}\"", area.code);
                    self.errors.push(CityError::of_file(&layer.config.file, problem));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
