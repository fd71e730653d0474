//! Asks a server through Flipt's client for Rust, and prints what it got as JSON.

#![forbid(unsafe_code)]

use std::{collections::HashMap, env};

use flipt::{
    AuthenticationStrategy, ClientTokenAuthentication, ConfigBuilder, NoneAuthentication, Url,
    api::FliptClient,
    evaluation::models::{
        BatchEvaluationRequest, BooleanEvaluationResponse, EvaluationRequest, Response,
        VariantEvaluationResponse,
    },
};
use serde_json::{Map, Value, json};

fn request(flag: &str, entity: &str, context: &[(&str, &str)]) -> EvaluationRequest {
    EvaluationRequest {
        namespace_key: "default".to_owned(),
        flag_key: flag.to_owned(),
        entity_id: entity.to_owned(),
        context: context
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<HashMap<_, _>>(),
        reference: None,
    }
}

fn variant(response: &VariantEvaluationResponse) -> Value {
    json!({
        "match": response.r#match,
        "variant": response.variant_key,
        "attachment": response.variant_attachment,
        "segments": response.segment_keys,
        "reason": format!("{:?}", response.reason),
    })
}

fn boolean(response: &BooleanEvaluationResponse) -> Value {
    json!({ "enabled": response.enabled, "reason": format!("{:?}", response.reason) })
}

fn entry(response: &Response) -> Value {
    match (&response.variant_response, &response.boolean_response, &response.error_response) {
        (Some(response), _, _) => variant(response),
        (_, Some(response), _) => boolean(response),
        (_, _, Some(error)) => json!({ "error": format!("{:?} {}", error.reason, error.flag_key) }),
        _ => Value::Null,
    }
}

fn answer<T>(result: Result<T, flipt::error::UpstreamError>, shown: impl FnOnce(&T) -> Value) -> Value {
    match result {
        Ok(response) => shown(&response),
        Err(error) => json!({ "error": error.message }),
    }
}

async fn ask<T: AuthenticationStrategy>(config: flipt::Config<T>, lists: bool) -> Value {
    let client = match FliptClient::new(config) {
        Ok(client) => client,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let nordic = [("country", "NO"), ("plan", "pro"), ("days", "31")];
    let mut told = Map::new();
    if lists {
        let flags = client.flags.list_flags("default", None).await;
        told.insert(
            "flags".to_owned(),
            answer(flags, |list| list.flags.iter().map(|flag| flag.key.clone()).collect()),
        );
    }
    let evaluation = &client.evaluation;
    let response = evaluation.variant(&request("button-colour", "user-1", &nordic)).await;
    told.insert("variant".to_owned(), answer(response, variant));
    let response = evaluation.variant(&request("button-colour", "user-1", &[])).await;
    told.insert("default".to_owned(), answer(response, variant));
    let response = evaluation.boolean(&request("new-checkout", "ann@example.com", &[])).await;
    told.insert("boolean".to_owned(), answer(response, boolean));
    let batch = BatchEvaluationRequest {
        requests: vec![
            request("new-checkout", "ann@example.com", &[]),
            request("button-colour", "user-1", &nordic),
            request("no-such-flag", "user-1", &[]),
        ],
        reference: None,
    };
    let response = evaluation.batch(&batch).await;
    told.insert("batch".to_owned(), answer(response, |batch| batch.responses.iter().map(entry).collect()));
    let response = evaluation.variant(&request("no-such-flag", "user-1", &[])).await;
    told.insert("unknown".to_owned(), answer(response, variant));
    Value::Object(told)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = Url::parse(&env::var("FLIPT_URL")?)?;
    let lists = env::var_os("FLIPT_LISTS").is_some();
    let told = match env::var("FLIPT_TOKEN") {
        Ok(token) => {
            let strategy = ClientTokenAuthentication::new(token);
            ask(ConfigBuilder::default().with_endpoint(url).with_auth_strategy(strategy).build(), lists).await
        }
        Err(_) => {
            let strategy = NoneAuthentication::new();
            ask(ConfigBuilder::default().with_endpoint(url).with_auth_strategy(strategy).build(), lists).await
        }
    };
    println!("{told}");
    Ok(())
}
