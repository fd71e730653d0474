//! Metrics of the database's connections (observability spec, section 2.4).

use flipt_store::Database;
use flipt_telemetry::Registry;
use prometheus::{
    IntCounterVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Read from the database when somebody asks.
#[derive(Clone)]
struct DatabaseMetrics {
    database: Database,
    open: IntGaugeVec,
    statements: IntCounterVec,
}

/// Adds the metrics of a database.
pub(crate) fn register(database: &Database, registry: &Registry) -> Result<(), prometheus::Error> {
    let open = Opts::new("db_sql_connection_open", "Connections to the database, by what they do.");
    let statements = Opts::new("flipt_database_statements_total", "Statements that the database was sent.");
    registry.add(DatabaseMetrics {
        database: database.clone(),
        open: IntGaugeVec::new(open, &["driver", "status"])?,
        statements: IntCounterVec::new(statements, &["driver"])?,
    });
    Ok(())
}

impl Collector for DatabaseMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.open.desc();
        all.extend(self.statements.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let driver = self.database.dialect().name();
        let (open, idle) = self.database.connections();
        let idle = i64::try_from(idle).unwrap_or_default();
        self.open.with_label_values(&[driver, "idle"]).set(idle);
        self.open.with_label_values(&[driver, "inuse"]).set((i64::from(open) - idle).max(0));
        let statements = self.statements.with_label_values(&[driver]);
        statements.inc_by(self.database.statements().saturating_sub(statements.get()));
        let mut all = self.open.collect();
        all.extend(self.statements.collect());
        all
    }
}
