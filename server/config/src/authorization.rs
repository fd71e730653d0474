//! `authorization`: policies about what callers may do (config spec, section 3.14). They cannot be enforced
//! yet, so requiring them keeps the server from starting.

use std::time::Duration;

use crate::{Origin, Wording, reader::Reader};

const REQUIRED: &str = "authorization.required";
const LOCAL_POLICY: &str = "authorization.local.policy.path";

/// Reads and checks the section.
pub(crate) fn read(reader: &mut Reader<'_>, authentication_required: bool) {
    let required = reader.bool(REQUIRED, false);
    let backend = reader.optional_text("authorization.backend");
    let policy = reader.optional_text(LOCAL_POLICY).unwrap_or_default();
    let policy_interval = reader.optional_duration("authorization.local.policy.poll_interval");
    let data = reader.optional_text("authorization.local.data.path");
    let data_interval = reader.optional_duration("authorization.local.data.poll_interval");
    let bundle = reader.secret("authorization.bundle.configuration");
    let object = reader.optional_text("authorization.object.type");
    let bucket = reader.optional_text("authorization.object.s3.bucket");
    for key in ["prefix", "region", "endpoint"] {
        reader.optional_text(&format!("authorization.object.s3.{key}"));
    }
    if !required || reader.has_failed() {
        return;
    }
    let is_zero = |interval: &Option<(Duration, Origin)>| {
        interval.as_ref().is_some_and(|(interval, _)| interval.is_zero())
    };
    let wrong = if !authentication_required {
        Some((
            REQUIRED,
            "authorization requires authentication also be required",
            "set authentication.required",
        ))
    } else {
        match backend.as_deref().unwrap_or("local") {
            "local" if policy.is_empty() => Some((
                LOCAL_POLICY,
                "authorization: local: policy: path must be non-empty string",
                "the path of a Rego file",
            )),
            "local" if is_zero(&policy_interval) => Some((
                "authorization.local.policy.poll_interval",
                "authorization: local: policy: poll_interval must be greater than zero",
                "a duration such as 5m",
            )),
            "local" if data.as_deref().is_some_and(str::is_empty) => Some((
                "authorization.local.data.path",
                "authorization: local: data: path must be non-empty string",
                "the path of a JSON file",
            )),
            "local" if is_zero(&data_interval) => Some((
                "authorization.local.data.poll_interval",
                "authorization: local: data: poll_interval must be greater than zero",
                "a duration such as 30s",
            )),
            "bundle" if bundle.as_ref().is_none_or(|bundle| bundle.expose().is_empty()) => Some((
                "authorization.bundle.configuration",
                "authorization: bundle: configuration must be non-empty string",
                "the configuration of a policy engine",
            )),
            "object" if object.as_deref() == Some("s3") && bucket.as_deref().is_none_or(str::is_empty) => {
                Some((
                    "authorization.object.s3.bucket",
                    "authorization: object: s3 bucket must be specified",
                    "the name of a bucket",
                ))
            }
            _ => None,
        }
    };
    if let Some((key, problem, remedy)) = wrong {
        let origin = reader.is_set(key).unwrap_or(Origin::Default);
        return reader.fail_with(Wording::Fixed, key, origin, problem, remedy);
    }
    let origin = reader.is_set(REQUIRED).unwrap_or(Origin::Default);
    reader.fail(
        REQUIRED,
        origin,
        "policies are not supported yet by this version, which does not start without what it was told to check",
    );
}
