//! `Grpc-Timeout`: how long a caller waits (api spec, section 2.7).

use std::time::Duration;

use flipt_serving::{Code, Error};
use http::HeaderMap;

/// The time a request allows; `None` if it says nothing.
///
/// # Errors
/// [`Code::InvalidArgument`] for what is no number with a unit.
pub(crate) fn allowed(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    parse(text)
        .map(Some)
        .ok_or_else(|| Error::new(Code::InvalidArgument, format!("invalid grpc-timeout: {text}")))
}

/// The failure of a call that took longer.
pub(crate) fn exceeded() -> Error {
    Error::new(Code::DeadlineExceeded, "context deadline exceeded")
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number.saturating_mul(3_600)),
        'M' => Duration::from_secs(number.saturating_mul(60)),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_with_a_unit() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("200m"), Some(Duration::from_millis(200)));
        for text in ["", "S", "soon", "5", "5s", "-1S"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
