//! Connector `file`: CSV, NDJSON, JSON and Parquet; plain, gzip or zstd; UTF-8, UTF-16, Windows-1252 or GB18030, declared or guessed; one pass,
//! or a folder watched.
//!
//! In reading order:
//! - [`glob`]: which files belong to the feed
//! - [`decode`]: from a file's bytes to UTF-8
//! - [`text`]: text not yet split into rows
//! - [`csv`]: its rows
//! - [`rows`]: formats, each a source of rows
//! - [`reader`]: files in order, positions, watching

mod csv;
mod decode;
mod glob;
mod reader;
mod rows;
mod text;

use serde::Deserialize;
use shiyu_schemas::city::manifest::FeedManifest;

use crate::{Connector, ConnectorError, OpenContext, Reader};

/// The connector.
#[derive(Debug)]
pub struct FileConnector;

/// Settings of the connector, `connector.with`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSettings {
    /// Globs (`*`, `?`, `**`), relative to the city folder or through `${NAME}`.
    pub(crate) paths: Vec<String>,
    /// `csv`, `ndjson`, `json`, `parquet`; default: by the file's extension.
    #[serde(default)]
    pub(crate) format: Option<Format>,
    /// Default: by the file's first bytes.
    #[serde(default)]
    pub(crate) compression: Compression,
    /// Default: UTF-8 where the whole file is, else guessed.
    #[serde(default)]
    pub(crate) encoding: TextEncoding,
    /// Between fields, one byte.
    #[serde(default = "comma")]
    pub(crate) delimiter: char,
    /// Around fields, one byte.
    #[serde(default = "quote")]
    pub(crate) quote: char,
    /// Where a JSON file's records are, dotted; default: the file is an array.
    #[serde(default)]
    pub(crate) records_path: Option<String>,
    /// Whether `serve` watches for new and grown files.
    #[serde(default)]
    pub(crate) watch: bool,
    /// Rows longer than this are malformed.
    #[serde(default = "row_bytes_max")]
    pub(crate) max_row_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Csv,
    Ndjson,
    Json,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    #[default]
    Auto,
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum TextEncoding {
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "gb18030", alias = "gbk", alias = "gb2312")]
    Gb18030,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
}

fn comma() -> char {
    ','
}

fn quote() -> char {
    '"'
}

fn row_bytes_max() -> usize {
    1 << 20
}

impl FileSettings {
    fn of(manifest: &FeedManifest) -> Result<Self, ConnectorError> {
        let config = |problem: String| ConnectorError::Config {
            connector: "file",
            feed: manifest.feed.clone(),
            problem,
        };
        let settings: Self = serde_json::from_value(manifest.connector.with.clone())
            .map_err(|error| config(format!("connector.with: {error}")))?;
        if settings.paths.is_empty() {
            return Err(config("connector.with.paths names no files".to_owned()));
        }
        if !settings.delimiter.is_ascii() || !settings.quote.is_ascii() {
            return Err(config(
                "delimiter and quote must each be one ASCII character".to_owned(),
            ));
        }
        Ok(settings)
    }
}

impl Connector for FileConnector {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn summary(&self) -> &'static str {
        "CSV, NDJSON, JSON and Parquet files; gzip, zstd; UTF-8, Windows-1252, GB18030; one pass or watched"
    }

    fn sample(&self) -> &'static str {
        "paths: [\"${CITY_DATA}/orders/*.csv\"]  # globs: *, ?, **\n\
         format: csv            # csv, ndjson, json, parquet; default: by extension\n\
         compression: auto      # auto, none, gzip, zstd\n\
         encoding: auto         # auto, utf-8, windows-1252, gb18030\n\
         delimiter: \",\"\n\
         quote: \"\\\"\"\n\
         watch: true            # serve: new and grown files are read\n\
         max_row_bytes: 1048576\n"
    }

    fn check(&self, manifest: &FeedManifest) -> Result<(), ConnectorError> {
        FileSettings::of(manifest).map(|_| ())
    }

    fn open(&self, manifest: &FeedManifest, context: OpenContext) -> Result<Box<dyn Reader>, ConnectorError> {
        let settings = FileSettings::of(manifest)?;
        Ok(Box::new(reader::FileReader::open(manifest, settings, context)?))
    }
}

#[cfg(test)]
mod tests;
