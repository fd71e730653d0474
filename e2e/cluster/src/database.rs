//! A real PostgreSQL beside the cluster, which its pods reach.

use std::net::{IpAddr, Ipv4Addr};

use flipt_dev_databases::{Durability, Postgres};
use flipt_e2e::{Failure, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::daemon::cluster_is_ours;

/// Address of the node, where the tests run, too.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 90, 0, 2));

/// A PostgreSQL with one empty database. It ends with the value.
#[derive(Debug)]
pub struct Database {
    /// Address of the database for pods.
    pub url: String,
    _postgres: Postgres,
    forwarder: JoinHandle<()>,
}

impl Database {
    /// Starts a PostgreSQL.
    ///
    /// # Errors
    /// In a cluster of somebody else, whose pods do not reach this machine.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    pub async fn start() -> Result<Self> {
        if !cluster_is_ours() {
            return Err(Failure::new("pods of this cluster do not reach a database on this machine"));
        }
        let (postgres, local) = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start(Durability::Processes);
            let local = postgres.create_database();
            (postgres, local)
        })
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
        // It lets in whoever comes from this machine, and nobody else.
        let failed = |error: std::io::Error| Failure::new(format!("a way to PostgreSQL: {error}"));
        let listener = TcpListener::bind((NODE, 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let url = local.replace(&format!("127.0.0.1:{}", postgres.port()), &format!("{NODE}:{port}"));
        let forwarder = tokio::spawn(forward(listener, postgres.port()));
        Ok(Self { url, _postgres: postgres, forwarder })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

async fn forward(listener: TcpListener, port: u16) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                // A connection that breaks is noticed at both ends.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
