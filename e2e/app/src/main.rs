//! An application as people write them: it reads the token that its pod got, and evaluates flags on localhost.
//!
//! ```text
//! flipt-e2e-app once     evaluates once, prints the answer, fails unless it is a decision
//! flipt-e2e-app serve    evaluates again and again, and tells on port 8000 how that went
//! ```
//!
//! `GET /` on that port gives the [`Record`] of all evaluations. `POST /ask` sends one request of the caller's choice to
//! the sidecar ([`Question`]) and gives its answer ([`Answer`]). Settings are variables: `FLIPT_URL` and
//! `FLIPT_TOKEN_FILE` come with the sidecar; `APP_NAMESPACE`, `APP_FLAG` and `APP_PAUSE_MS` are ours.

#![forbid(unsafe_code)]

mod ask;
mod record;
mod serve;
mod settings;

use std::process::ExitCode;

use ask::{Answer, Question, ask};
use record::Record;
use settings::Settings;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = Settings::of_environment();
    match std::env::args().nth(1).as_deref() {
        Some("once") => once(&settings).await,
        Some("serve") => serve::run(settings).await,
        _ => {
            eprintln!("usage: flipt-e2e-app once|serve");
            ExitCode::from(2)
        }
    }
}

async fn once(settings: &Settings) -> ExitCode {
    let answer = ask(settings, &settings.question()).await;
    println!("{}", serde_json::json!(answer));
    if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
