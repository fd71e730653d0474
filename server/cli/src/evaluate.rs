//! `flipt evaluate`: one flag on a running server, once or again and again (cli spec, section 9).

use std::{collections::HashMap, io::Write as _, process::ExitCode};

use flipt_client::{
    Client,
    call::{Boolean, GetFlag, Variant},
};
use flipt_model::{FlagType, validation::canonical_json};
use flipt_proto::{
    evaluation::{BooleanEvaluationResponse, EvaluationReason, EvaluationRequest, VariantEvaluationResponse},
    flipt as pb, rfc3339,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{arguments::EvaluateOptions, failure::Failure, remote, usage};

/// Evaluates a flag, and prints a line of JSON for each time.
pub(crate) async fn run(options: EvaluateOptions) -> Result<ExitCode, Failure> {
    let [flag_key] = usage::exactly(options.flags)?;
    let request = EvaluationRequest {
        request_id: options.request_id,
        namespace_key: options.namespace,
        flag_key,
        entity_id: options.entity_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        context: context(&options.context)?,
        ..Default::default()
    };
    let client = remote::connect(&options.address, &options.token)?;
    let about = pb::GetFlagRequest {
        key: request.flag_key.clone(),
        namespace_key: request.namespace_key.clone(),
        ..Default::default()
    };
    let flag = client.call::<GetFlag>(&about).await.map_err(Failure::new)?;
    let flag_type = FlagType::from_number(flag.r#type);
    if !options.watch {
        print(&evaluate(&client, flag_type, &request).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let failed = |error: std::io::Error| Failure::new(format!("watching for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut ticks = interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first result comes after one interval.
    ticks.tick().await;
    loop {
        let next = async {
            ticks.tick().await;
            evaluate(&client, flag_type, &request).await
        };
        let result = tokio::select! {
            result = next => result,
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        };
        match result {
            Ok(line) => print(&line)?,
            Err(failure) => eprintln!("failed to evaluate: {failure}"),
        }
    }
}

/// The properties of the entity. The key is trimmed, the value is kept as it is.
fn context(pairs: &[String]) -> Result<HashMap<String, String>, Failure> {
    pairs
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
            None => Err(Failure::new(format!("invalid context pair: {pair}"))),
        })
        .collect()
}

async fn evaluate(
    client: &Client,
    flag_type: FlagType,
    request: &EvaluationRequest,
) -> Result<String, Failure> {
    if flag_type == FlagType::Boolean {
        client.call::<Boolean>(request).await.map(|answer| boolean(&answer)).map_err(Failure::new)
    } else {
        client.call::<Variant>(request).await.map(|answer| variant(&answer)).map_err(Failure::new)
    }
}

/// A JSON object written member by member, because their order is promised.
struct Line(String);

impl Line {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn member(mut self, name: &str, json: &str) -> Self {
        let separator = if self.0.len() > 1 { "," } else { "" };
        self.0.push_str(&format!("{separator}\"{name}\":{json}"));
        self
    }

    /// Left out if it is empty.
    fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.member(name, &canonical_json(&value.into())) }
    }

    fn reason(self, number: i32) -> Self {
        match EvaluationReason::try_from(number) {
            Ok(reason) => self.text("reason", reason.as_str_name()),
            Err(_) => self.text("reason", &number.to_string()),
        }
    }

    fn end(
        self,
        request_id: &str,
        duration_millis: f64,
        timestamp: Option<&prost_types::Timestamp>,
    ) -> String {
        let line = self.text("request_id", request_id);
        let line = if duration_millis == 0.0 {
            line
        } else {
            line.member("request_duration_millis", &canonical_json(&duration_millis.into()))
        };
        let timestamp = timestamp.map(rfc3339).unwrap_or_default();
        format!("{}}}", line.text("timestamp", &shortest(&timestamp)).0)
    }
}

/// A time without zeros at the end of its fraction, as Go writes it.
fn shortest(time: &str) -> String {
    match time.strip_suffix('Z') {
        Some(digits) if digits.contains('.') => format!("{}Z", digits.trim_end_matches('0')),
        _ => time.to_owned(),
    }
}

fn boolean(answer: &BooleanEvaluationResponse) -> String {
    Line::new()
        .text("flag_key", &answer.flag_key)
        .member("enabled", if answer.enabled { "true" } else { "false" })
        .reason(answer.reason)
        .end(&answer.request_id, answer.request_duration_millis, answer.timestamp.as_ref())
}

fn variant(answer: &VariantEvaluationResponse) -> String {
    let line = Line::new()
        .text("flag_key", &answer.flag_key)
        .member("match", if answer.r#match { "true" } else { "false" })
        .reason(answer.reason)
        .text("variant_key", &answer.variant_key)
        .text("variant_attachment", &answer.variant_attachment);
    let line = if answer.segment_keys.is_empty() {
        line
    } else {
        line.member("segment_keys", &canonical_json(&answer.segment_keys.clone().into()))
    };
    line.end(&answer.request_id, answer.request_duration_millis, answer.timestamp.as_ref())
}

fn print(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("writing to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_property_is_kept_as_it_is() {
        let given = [" plan =a=b, c ".to_owned(), "=".to_owned()];
        let read = context(&given).unwrap();
        assert_eq!(read["plan"], "a=b, c ");
        assert_eq!(read[""], "");
        assert_eq!(context(&["none".to_owned()]).unwrap_err().to_string(), "invalid context pair: none");
    }

    #[test]
    fn members_stand_in_the_promised_order_and_empty_ones_are_left_out() {
        let timestamp = prost_types::Timestamp { seconds: 0, nanos: 700_000_000 };
        let answer = VariantEvaluationResponse {
            flag_key: "f".into(),
            r#match: true,
            reason: 2,
            variant_key: "v".into(),
            variant_attachment: r#"{"a":"<"}"#.into(),
            segment_keys: vec!["s".into()],
            request_id: "r".into(),
            request_duration_millis: 0.25,
            timestamp: Some(timestamp),
        };
        assert_eq!(
            variant(&answer),
            r#"{"flag_key":"f","match":true,"reason":"MATCH_EVALUATION_REASON","variant_key":"v","variant_attachment":"{\"a\":\"\u003c\"}","segment_keys":["s"],"request_id":"r","request_duration_millis":0.25,"timestamp":"1970-01-01T00:00:00.7Z"}"#
        );
        let answer = BooleanEvaluationResponse { flag_key: "f".into(), reason: 3, ..Default::default() };
        assert_eq!(
            boolean(&answer),
            r#"{"flag_key":"f","enabled":false,"reason":"DEFAULT_EVALUATION_REASON"}"#
        );
    }
}
