//! Query strings: nothing makes their reader panic, and what it refuses is the caller's mistake.

#![no_main]
#![allow(dead_code, reason = "the files are those of the server, which uses all of them")]

#[path = "../src/any.rs"]
mod any;
#[path = "../src/query.rs"]
mod query;
#[path = "../src/transcode.rs"]
mod transcode;

use flipt_proto::{auth, environments, flipt};
use flipt_serving::{Code, Error, http::path};
use libfuzzer_sys::fuzz_target;
use prost::{Message, Name};
use transcode::Parameters;

fuzz_target!(|text: &str| {
    _ = path::split(text);
    let pairs = match query::parse(text) {
        Ok(pairs) => pairs,
        Err(error) => return expect(&error),
    };
    check::<flipt::ListFlagRequest>(&pairs);
    check::<flipt::DeleteNamespaceRequest>(&pairs);
    check::<flipt::DeleteDistributionRequest>(&pairs);
    check::<auth::ListAuthenticationsRequest>(&pairs);
    check::<auth::ExpireAuthenticationSelfRequest>(&pairs);
    check::<environments::GetResourceRequest>(&pairs);
});

fn check<M: Message + Name + Default>(pairs: &[(String, String)]) {
    let parameters = Parameters { path: vec![("key", "value")], query: pairs.to_vec() };
    if let Err(error) = transcode::from_query::<M>(&parameters) {
        expect(&error);
    }
}

fn expect(error: &Error) {
    assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
}
