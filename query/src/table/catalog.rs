//! Opens the stored tables at the versions of `snapshot.json`, and gives every query one set of them, with the rows that are not in files yet
//! where the hub tells them.
//!
//! A set is made once and shared while nothing changes: then all a query pays is a question to the hub and reading `snapshot.json`.
//! Readers take no lock; files of the tables are only ever added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result as DataFusionResult;
use deltalake::{DeltaTable, DeltaTableBuilder};
use shiyu_log::table::newest::ToldEpoch;
use shiyu_log::table::{Snapshot, check_columns};
use shiyu_schemas::city::City;
use shiyu_schemas::table::{STORED, TableShape};
use tokio::sync::Mutex;

use super::newest::Newest;
use super::scan::SnapshotTable;
use super::{NewestSource, Sources, TABLES};
use crate::error::QueryError;

/// Catalog of all tables.
pub const CATALOG_NAME: &str = "shiyu";
/// Schema of all tables.
pub const SCHEMA_NAME: &str = "core";

/// All tables at one snapshot.
#[derive(Debug)]
pub struct Tables {
    /// What is in files.
    snapshot: Snapshot,
    tables: BTreeMap<&'static str, Arc<dyn TableProvider>>,
}

impl Tables {
    /// A table by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn TableProvider>> {
        self.tables.get(name)
    }

    /// All tables by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Arc<dyn TableProvider>)> {
        self.tables.iter().map(|(name, table)| (*name, table))
    }
}

/// The tables of a data folder.
#[derive(Debug)]
pub struct Catalog {
    root: PathBuf,
    city: Option<Arc<City>>,
    newest: Option<Arc<dyn NewestSource>>,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    /// Stored tables by name, at the versions of the newest set.
    stored: BTreeMap<&'static str, Stored>,
    /// Rows beyond that set's files.
    newest: Newest,
    made: Option<Arc<Tables>>,
}

/// A stored table at one version.
#[derive(Debug)]
struct Stored {
    delta: DeltaTable,
    /// Its files.
    table: SnapshotTable,
}

impl Catalog {
    /// Opens the tables of a data folder. What is missing has no rows.
    pub async fn open(data_dir: &Path, city: Option<Arc<City>>) -> Result<Self, QueryError> {
        Self::open_with(data_dir, city, None).await
    }

    /// The same, with the rows that are not in files yet.
    pub async fn open_with(
        data_dir: &Path,
        city: Option<Arc<City>>,
        newest: Option<Arc<dyn NewestSource>>,
    ) -> Result<Self, QueryError> {
        let catalog = Self {
            root: data_dir.join("tables"),
            city,
            newest,
            opened: Mutex::new(Opened::default()),
        };
        catalog.tables().await?;
        Ok(catalog)
    }

    /// Folder of the stored tables.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All tables at the newest snapshot.
    pub async fn tables(&self) -> Result<Arc<Tables>, QueryError> {
        let mut opened = self.opened.lock().await;
        // Before the snapshot: what leaves the one is in the other then.
        let told = self.newest_epochs(opened.newest.known()).await;
        let snapshot = Snapshot::read(&self.root)?.unwrap_or_default();
        if let Some(made) = &opened.made
            && told.is_empty()
            && made.snapshot == snapshot
        {
            return Ok(made.clone());
        }
        // Taken out: a question that is given up in the middle leaves no set behind that lacks what was told.
        let before = opened.made.take();
        if let Err(error) = opened.newest.add(told) {
            tracing::warn!(%error, "the hub tells its newest rows in another form");
        }
        opened.newest.forget(&snapshot);
        for shape in STORED {
            if let Some(&version) = snapshot.tables.get(shape.name) {
                opened.bring_to(&self.root, shape, version).await?;
            }
        }
        let behind = opened.newest.behind(&snapshot);
        let shown = STORED.iter().filter(|shape| snapshot.tables.contains_key(shape.name));
        let stored = shown.filter_map(|shape| {
            let Stored { table, .. } = opened.stored.get(shape.name)?;
            Some((shape.name, Arc::new(table.with_rows(behind.rows_of(shape)))))
        });
        let stored = stored.collect();
        let sources = Sources {
            stored: &stored,
            epochs: &behind.epochs,
            stored_epochs: &snapshot.epochs,
            city: self.city.as_deref(),
        };
        let mut tables = BTreeMap::new();
        for seen in TABLES {
            let before = before.as_ref().filter(|_| !seen.is_stored);
            let table = match before.and_then(|made| made.get(seen.name)) {
                Some(table) => table.clone(),
                None => (seen.make)(&sources).map_err(|error| QueryError::Internal(Box::new(error)))?,
            };
            tables.insert(seen.name, table);
        }
        let tables = Arc::new(Tables { snapshot, tables });
        opened.made = Some(tables.clone());
        Ok(tables)
    }

    /// What the hub tells. A hub that does not answer delays no question for long: it is answered from the files then.
    async fn newest_epochs(&self, known: BTreeMap<String, u64>) -> Vec<ToldEpoch> {
        let Some(source) = &self.newest else {
            return Vec::new();
        };
        source.since(known).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the hub does not tell its newest rows");
            Vec::new()
        })
    }
}

impl Opened {
    /// Has a table at exactly this version: the one at hand, or that brought forward, or else read anew.
    async fn bring_to(&mut self, root: &Path, shape: &'static TableShape, version: u64) -> Result<(), QueryError> {
        let older = match self.stored.remove(shape.name) {
            Some(stored) if stored.delta.version() == Some(version) => {
                self.stored.insert(shape.name, stored);
                return Ok(());
            }
            other => other,
        };
        let forward = match older {
            Some(Stored { delta, .. }) => brought_forward(delta, version).await,
            None => None,
        };
        let delta = match forward {
            Some(delta) => delta,
            None => read(&root.join(shape.name), version).await?,
        };
        check_columns(shape, &delta, root)?;
        let table = SnapshotTable::of_delta(shape, &delta)?;
        self.stored.insert(shape.name, Stored { delta, table });
        Ok(())
    }
}

async fn brought_forward(mut delta: DeltaTable, version: u64) -> Option<DeltaTable> {
    let is_forward = delta.update_incremental(Some(version)).await.is_ok() && delta.version() == Some(version);
    is_forward.then_some(delta)
}

async fn read(folder: &Path, version: u64) -> Result<DeltaTable, QueryError> {
    let folder = folder.canonicalize().map_err(|source| QueryError::Folder {
        path: folder.to_owned(),
        source,
    })?;
    let url = deltalake::ensure_table_uri(folder.to_string_lossy())?;
    Ok(DeltaTableBuilder::from_url(url)?.with_version(version).load().await?)
}

/// The schema `core` of one session: the tables of one snapshot.
#[derive(Debug)]
pub struct CoreSchema {
    tables: Arc<Tables>,
}

impl CoreSchema {
    /// Of these tables.
    pub fn new(tables: Arc<Tables>) -> Self {
        Self { tables }
    }

    /// The tables.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.clone()
    }
}

#[async_trait]
impl SchemaProvider for CoreSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(|seen| seen.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.iter().any(|seen| seen.name == name)
    }
}

/// The catalog `shiyu` of one session. Doors may add schemas of their own (`pg_catalog`); queries cannot.
#[derive(Debug)]
pub(crate) struct SessionCatalog {
    core: Arc<CoreSchema>,
    more: RwLock<BTreeMap<String, Arc<dyn SchemaProvider>>>,
}

impl SessionCatalog {
    pub(crate) fn new(core: Arc<CoreSchema>) -> Self {
        Self {
            core,
            more: RwLock::default(),
        }
    }
}

impl CatalogProvider for SessionCatalog {
    fn schema_names(&self) -> Vec<String> {
        let more = self.more.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(SCHEMA_NAME.to_owned())
            .chain(more.keys().cloned())
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == SCHEMA_NAME {
            return Some(self.core.clone());
        }
        self.more
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> DataFusionResult<Option<Arc<dyn SchemaProvider>>> {
        Ok(self
            .more
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), schema))
    }
}
