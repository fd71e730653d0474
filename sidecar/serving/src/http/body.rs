//! Reading a request body within a limit.

use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};

use crate::{Code, Error};

/// Largest body that is read: gRPC's default message limit, so that both transports agree.
pub const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// Longest time a client may take to send its body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body.
///
/// # Errors
/// [`Code::ResourceExhausted`] beyond the limit, [`Code::InvalidArgument`] if the client breaks off or
/// takes longer than ten seconds.
pub async fn read(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    let collecting = Limited::new(body, limit).collect();
    match tokio::time::timeout(TIMEOUT, collecting).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Error::new(Code::ResourceExhausted, format!("request body is larger than {limit} bytes")))
        }
        Ok(Err(error)) => {
            Err(Error::new(Code::InvalidArgument, format!("request body could not be read: {error}")))
        }
        Err(_) => Err(Error::new(
            Code::InvalidArgument,
            format!("request body did not arrive within {} s", TIMEOUT.as_secs()),
        )),
    }
}
