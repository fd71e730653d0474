//! The running server that `--address` names, instead of the configured database.

pub(crate) mod interruption;
pub(crate) mod read;
pub(crate) mod replace;
pub(crate) mod write;

use flipt_client::{Address, Client};

use crate::failure::Failure;

/// A client of the server at this address.
///
/// # Errors
/// The address is none, or the token cannot be sent.
pub(crate) fn connect(address: &str, token: &str) -> Result<Client, Failure> {
    let address = Address::parse(address).map_err(Failure::new)?;
    Client::new(&address, token).map_err(Failure::new)
}
