//! Connections, transactions and values, the same for every database.

mod bind;
mod connect;
mod dialect;
mod transaction;
mod url;
mod value;

pub(crate) use connect::notify;
pub use connect::{ConnectError, Database, DatabaseOptions, Listener};
pub use dialect::Dialect;
pub use transaction::Transaction;
pub use url::{DatabaseUrl, UrlError};
pub use value::{Param, Row};

/// Parameters of a statement, in order of their `?`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::database::Param::from($value)),*] };
}
pub(crate) use params;
