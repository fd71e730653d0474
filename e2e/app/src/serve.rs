//! Evaluates again and again, and tells how that went.

use std::{cell::RefCell, convert::Infallible, process::ExitCode, rc::Rc, time::Instant};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use crate::{Record, Settings, ask};

/// Runs until SIGTERM.
pub(crate) async fn run(settings: Settings) -> ExitCode {
    let outcome = LocalSet::new().run_until(serve(settings)).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8000").await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let record = Rc::new(RefCell::new(Record::default()));
    tokio::task::spawn_local(evaluate(settings.clone(), Rc::clone(&record)));
    loop {
        let stream = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let (settings, record) = (settings.clone(), Rc::clone(&record));
        let service = service_fn(move |request| {
            let (settings, record) = (settings.clone(), Rc::clone(&record));
            async move { Ok::<_, Infallible>(answer(&settings, &record, request).await) }
        });
        tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn evaluate(settings: Settings, record: Rc<RefCell<Record>>) {
    let question = settings.question();
    loop {
        let began = Instant::now();
        let answer = ask(&settings, &question).await;
        record.borrow_mut().add(&answer, began.elapsed());
        tokio::time::sleep(settings.pause).await;
    }
}

async fn answer(
    settings: &Settings,
    record: &RefCell<Record>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let text = match request.uri().path() {
        "/" => serde_json::json!(*record.borrow()),
        "/ask" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            match serde_json::from_slice(&body) {
                Ok(question) => serde_json::json!(ask(settings, &question).await),
                Err(error) => serde_json::json!({ "status": 0, "body": error.to_string() }),
            }
        }
        other => serde_json::json!({ "status": 0, "body": format!("nothing at {other}") }),
    };
    Response::new(Full::new(Bytes::from(text.to_string())))
}
