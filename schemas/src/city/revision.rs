//! Which files make a revision of a city, and their hash.
//!
//! A revision is everything that was read: the folder's own files, and boundaries from outside where a variable named them. What lies
//! outside has a name below `variables/` in a copy, so that the copy is a folder again: `--var CITY_DATA=COPY/variables/CITY_DATA`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::FolderFiles;

/// Folder of a copy for what a variable named.
pub const VARIABLES: &str = "variables";
/// Folder of a copy for what else lay outside of the city's folder.
const OUTSIDE: &str = "outside";

/// A file of a city, in the order in which they were first read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Path as it was read: relative to the folder, or absolute.
    pub path: String,
    /// Path in a copy of the folder: relative, and nothing in it leads out.
    pub name: String,
}

/// Hash of a revision: over its files' bytes, in the order in which they were first read.
pub fn hash_of<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    files.into_iter().fold(0, with_file)
}

fn with_file(hash: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, hash)
}

/// Whether a name may be written below a folder.
pub fn is_inside(name: &str) -> bool {
    let plain = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && Path::new(name).components().all(plain)
}

/// Notes what is read.
pub(super) struct Recorder<'a> {
    files: &'a dyn FolderFiles,
    read: RefCell<Vec<ReadFile>>,
    hash: Cell<u64>,
    /// What a variable is filled with, and its name.
    variable: RefCell<Option<(String, String)>>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(files: &'a dyn FolderFiles) -> Self {
        Self {
            files,
            read: RefCell::default(),
            hash: Cell::new(0),
            variable: RefCell::default(),
        }
    }

    /// What is read next may lie below the variable with which this text begins.
    pub(super) fn below_variable(&self, text: &str, variables: &BTreeMap<String, String>) {
        let name = text
            .strip_prefix("${")
            .and_then(|rest| rest.split_once('}'))
            .map(|(name, _)| name);
        let filled = name.and_then(|name| Some((variables.get(name)?.clone(), name.to_owned())));
        self.variable.replace(filled);
    }

    /// The files, and the hash of their bytes.
    pub(super) fn end(self) -> (Vec<ReadFile>, u64) {
        (self.read.into_inner(), self.hash.get())
    }

    fn name_of(&self, path: &str) -> String {
        if let Some((filled, variable)) = &*self.variable.borrow()
            && Path::new(path).is_absolute()
            && let Ok(rest) = Path::new(path).strip_prefix(filled)
        {
            let name = format!("{VARIABLES}/{variable}/{}", rest.to_string_lossy());
            if rest != Path::new("") && is_inside(&name) {
                return name;
            }
        }
        if is_inside(path) {
            return path.to_owned();
        }
        let parts = Path::new(path).components().filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            Component::ParentDir => Some("up".into()),
            _ => None,
        });
        let parts: Vec<_> = std::iter::once(OUTSIDE.into()).chain(parts).collect();
        parts.join("/")
    }
}

impl FolderFiles for Recorder<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.files.read(path)?;
        let mut read = self.read.borrow_mut();
        if !read.iter().any(|known| known.path == path) {
            self.hash.set(with_file(self.hash.get(), &bytes));
            let name = self.name_of(path);
            read.push(ReadFile {
                path: path.to_owned(),
                name,
            });
        }
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> Vec<String> {
        self.files.list(folder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    struct Anything;

    impl FolderFiles for Anything {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            Ok(path.as_bytes().to_vec())
        }

        fn list(&self, _folder: &str) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn what_lies_outside_gets_a_name_inside_and_every_file_counts_once() {
        let recorder = Recorder::new(&Anything);
        let variables = BTreeMap::from([("DATA".to_owned(), "/srv/city/".to_owned())]);
        recorder.read("city.yaml").unwrap();
        recorder.below_variable("${DATA}/wards.shp", &variables);
        for path in [
            "/srv/city/wards.shp",
            "/srv/city/wards.dbf",
            "/srv/city/wards.shp",
            "/srv/city/../key",
            "../shared/grid.geojson",
            "areas/streets.geojson",
        ] {
            recorder.read(path).unwrap();
        }
        recorder.below_variable("${OTHER}/wards.shp", &variables);
        recorder.read("/srv/city/other.shp").unwrap();
        let (files, hash) = recorder.end();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "city.yaml",
                "variables/DATA/wards.shp",
                "variables/DATA/wards.dbf",
                "outside/srv/city/up/key",
                "outside/up/shared/grid.geojson",
                "areas/streets.geojson",
                "outside/srv/city/other.shp",
            ]
        );
        assert!(names.iter().all(|name| is_inside(name)));
        assert_eq!(hash, hash_of(files.iter().map(|file| file.path.as_bytes())));
        assert!(!is_inside("../x") && !is_inside("/x") && !is_inside(""));
    }
}
