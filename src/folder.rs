//! The city folder on disk, and where data lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use shiyu_ingest::city_folder::OnDisk;
use shiyu_schemas::city::config::CityConfig;
use shiyu_schemas::city::{City, CityErrors, yaml};

use crate::cli::CityArgs;
use crate::exit::{Exit, Failure, OrExit as _};

/// A city's folder and what fills its variables.
#[derive(Debug, Clone)]
pub(crate) struct CityFolder {
    /// The folder.
    pub(crate) path: PathBuf,
    /// Values of `${NAME}`.
    pub(crate) variables: BTreeMap<String, String>,
    /// The city.
    pub(crate) city: Arc<City>,
}

impl CityFolder {
    /// Reads a city; without another value `CITY_DATA` is the first of `inputs`.
    pub(crate) fn load(args: &CityArgs, inputs: &[PathBuf]) -> Result<Self, Failure> {
        let mut variables: BTreeMap<String, String> = std::env::vars().collect();
        if let Some(input) = inputs.first() {
            variables.insert("CITY_DATA".to_owned(), input.to_string_lossy().into_owned());
        }
        variables.extend(args.variables.iter().cloned());
        // What a variable names is relative to where the command was given, not to the city's folder.
        if let Some(data) = variables.get_mut("CITY_DATA")
            && let Ok(absolute) = std::path::absolute(&*data)
        {
            *data = absolute.to_string_lossy().into_owned();
        }
        if !args.city.join("city.yaml").is_file() {
            let error = anyhow!(
                "cannot find \"{}\": --city names a city's folder",
                args.city.join("city.yaml").display()
            );
            return Err(Failure::new(Exit::NoInput, error));
        }
        let path = std::path::absolute(&args.city)
            .context("cannot name the city's folder")
            .or_exit(Exit::NoInput)?;
        let city = City::load(&OnDisk(path.clone()), &variables).or_exit(Exit::Config)?;
        Ok(Self {
            path,
            variables,
            city: Arc::new(city),
        })
    }
}

/// A city's name, from its folder; the rest of the folder may be wrong.
pub(crate) fn city_name(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("city.yaml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read \"{}\": --city names a city's folder", path.display()))
        .or_exit(Exit::NoInput)?;
    let config: CityConfig = yaml::read("city.yaml", &text)
        .map_err(|error| CityErrors(vec![error]))
        .or_exit(Exit::Config)?;
    Ok(config.city)
}

/// The data folder: given, or `$XDG_DATA_HOME/shiyu/<city>`.
pub(crate) fn data_dir(given: Option<&Path>, city: &str) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .ok_or_else(|| {
            Failure::new(
                Exit::Config,
                anyhow!("cannot tell where data shall lie; give --data-dir"),
            )
        })?;
    Ok(home.join("shiyu").join(city))
}
