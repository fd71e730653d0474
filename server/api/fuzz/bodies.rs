//! JSON bodies of calls: nothing makes their reader panic, and whatever it reads is written and read back to the
//! same, indented too.

#![no_main]
#![allow(dead_code, reason = "the files are those of the server, which uses all of them")]

#[path = "../src/any.rs"]
mod any;
#[path = "../src/transcode.rs"]
mod transcode;

use flipt_proto::{auth, environments, flipt};
use flipt_serving::Code;
use libfuzzer_sys::fuzz_target;
use prost::{Message, Name};
use transcode::Parameters;

fuzz_target!(|body: &[u8]| {
    check::<flipt::CreateNamespaceRequest>(body);
    check::<flipt::CreateFlagRequest>(body);
    check::<flipt::UpdateFlagRequest>(body);
    check::<flipt::CreateVariantRequest>(body);
    check::<flipt::CreateSegmentRequest>(body);
    check::<flipt::CreateConstraintRequest>(body);
    check::<flipt::CreateRuleRequest>(body);
    check::<flipt::OrderRulesRequest>(body);
    check::<flipt::CreateDistributionRequest>(body);
    check::<flipt::CreateRolloutRequest>(body);
    check::<auth::CreateTokenRequest>(body);
    check::<environments::UpdateNamespaceRequest>(body);
    check::<environments::UpdateResourceRequest>(body);
});

fn check<M: Message + Name + Default>(body: &[u8]) {
    let none = || Parameters { path: Vec::new(), query: Vec::new() };
    let message: M = match transcode::from_body(body, &none()) {
        Ok(message) => message,
        Err(error) => {
            assert!(matches!(error.code, Code::InvalidArgument | Code::NotFound), "{error:?}");
            return;
        }
    };
    let json = transcode::to_json(&message).expect("what was read can be written");
    let again: M = transcode::from_body(&json, &none()).expect("what was written can be read");
    // Compared as JSON, where what is no number equals itself and maps have no order.
    let value =
        |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("what is written is JSON");
    assert_eq!(value(&transcode::to_json(&again).expect("it can be written again")), value(&json));
    transcode::pretty(&M::full_name(), &json).expect("what was written can be indented");
}
