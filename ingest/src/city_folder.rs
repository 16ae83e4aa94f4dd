//! The city folder on disk.

use std::path::PathBuf;

use shiyu_schemas::city::FolderFiles;

/// The files below a folder.
#[derive(Debug, Clone)]
pub struct OnDisk(pub PathBuf);

impl FolderFiles for OnDisk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| format!("cannot read it: {error}"))
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}
