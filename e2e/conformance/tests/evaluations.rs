//! The 6,000 recorded evaluations: the server answers them as Flipt v1.61.1 did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;

use flipt_conformance::{
    Evaluation, Input, Server, Workspace, document, evaluations, flipt,
    http::{Connection, Request},
    run_command,
};
use serde_json::{Value, json};

const CONNECTIONS: usize = 4;

fn ask(connection: &mut Connection, case: &Evaluation) -> Value {
    let body = json!({
        "namespaceKey": case.namespace_key,
        "flagKey": case.flag_key,
        "entityId": case.entity_id,
        "context": case.context,
    });
    let response = connection
        .send(&Request {
            method: "POST",
            path: case.endpoint.path(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        })
        .unwrap();
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn the_server_answers_every_recorded_evaluation() {
    let binary = flipt().unwrap_or_else(|error| panic!("{error}"));
    let workspace = Workspace::new().unwrap();
    let document = document().unwrap();
    let imported = run_command(
        &binary,
        &workspace,
        &Input {
            arguments: vec!["import".to_owned(), "--stdin".to_owned()],
            stdin: &document,
            ..Input::default()
        },
    )
    .unwrap();
    assert_eq!(imported.exit_code, 0, "{}", imported.stderr);
    let _server = Server::start(&binary, &workspace, &[]).unwrap();

    let cases = evaluations().unwrap();
    assert_eq!(cases.len(), 6_000);
    let wrong: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = cases
            .chunks(cases.len().div_ceil(CONNECTIONS))
            .map(|cases| {
                scope.spawn(|| {
                    let mut connection = Connection::open(workspace.http_port).unwrap();
                    cases
                        .iter()
                        .filter_map(|case| {
                            let answer = case.reduce(&ask(&mut connection, case));
                            (answer != case.result).then(|| format!("{case:?}\n  got {answer}"))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} differ, first:\n{}", wrong.len(), wrong[0]);
}
