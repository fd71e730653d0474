//! The databases that the promises are kept on.

use std::sync::LazyLock;

use flipt_dev_databases::{Durability, MariaDb, Postgres};
use flipt_store::{
    Database, DatabaseOptions, SqlStore,
    migrations::{self, Policy},
};
use tempfile::TempDir;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(Durability::Processes));
static MARIADB: LazyLock<MariaDb> = LazyLock::new(|| MariaDb::start(Durability::Processes));

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
    /// What is written for CockroachDB, on PostgreSQL.
    Cockroach,
}

impl Kind {
    /// URL of a new, empty database, with the folder it is in, if any.
    pub(crate) fn create(self) -> (String, Option<TempDir>) {
        match self {
            Self::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (format!("file:{}/data/flipt.db", folder.path().display()), Some(folder))
            }
            Self::Postgres => (POSTGRES.create_database(), None),
            Self::MariaDb => (MARIADB.create_database(), None),
            Self::Cockroach => (POSTGRES.create_database().replace("postgres://", "cockroach://"), None),
        }
    }

    /// Runs statements on a database, behind the store's back.
    pub(crate) async fn sql(self, url: &str, sql: &str) {
        let database = Database::open(url, DatabaseOptions::default()).await.unwrap();
        let mut transaction = database.write().await.unwrap();
        transaction.script(sql).await.unwrap();
        transaction.commit().await.unwrap();
        database.close().await;
    }
}

/// A store on a new database.
pub(crate) struct Fixture {
    pub(crate) store: SqlStore,
    pub(crate) url: String,
    pub(crate) _folder: Option<TempDir>,
}

/// The store on a database, as a server opens it.
pub(crate) async fn open(url: &str) -> SqlStore {
    let database = Database::open(url, DatabaseOptions::default()).await.unwrap();
    migrations::run(&database, Policy::FirstRun).await.unwrap();
    SqlStore::open(database).await.unwrap()
}

pub(crate) async fn fixture(kind: Kind) -> Fixture {
    let (url, folder) = kind.create();
    Fixture { store: open(&url).await, url, _folder: folder }
}

/// Makes a test of each of these functions for each kind of database.
macro_rules! on_every_database {
    ($($promise:ident),* $(,)?) => {
        crate::databases::on_every_database!(@ sqlite Sqlite $($promise)*);
        crate::databases::on_every_database!(@ postgresql Postgres $($promise)*);
        crate::databases::on_every_database!(@ mariadb MariaDb $($promise)*);
        crate::databases::on_every_database!(@ cockroachdb_dialect Cockroach $($promise)*);
    };
    (@ $module:ident $kind:ident $($promise:ident)*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(crate::databases::Kind::$kind).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_database;

/// Makes a test of each of these functions for the named kinds of databases.
macro_rules! on_databases {
    ($($promise:ident: $($module:ident $kind:ident),*;)*) => {
        $(mod $promise {
            $(#[tokio::test]
            async fn $module() {
                super::$promise(crate::databases::Kind::$kind).await;
            })*
        })*
    };
}
pub(crate) use on_databases;
