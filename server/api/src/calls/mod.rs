//! The lists of all calls, a file per service. Both transports are made from them.

mod authentication;
mod authentication_method_kubernetes;
mod authentication_method_token;
mod environments;
mod flipt;
mod ownership;
mod public_authentication;

use crate::rest::Bindings;

/// The REST bindings of every call that has some, of the services that are offered.
pub(crate) fn bindings(offered: impl Fn(&str) -> bool) -> Bindings {
    let all = flipt::bindings()
        .chain(environments::bindings())
        .chain(ownership::bindings())
        .chain(public_authentication::bindings())
        .chain(authentication::bindings())
        .chain(authentication_method_token::bindings())
        .chain(authentication_method_kubernetes::bindings());
    Bindings::new(all.filter(|binding| offered(binding.service)).collect())
}

/// Writes both transports of every call of a service from one list: handler, gRPC method and REST paths.
///
/// `body` calls take their message from the JSON body, `query` calls from the query string. Paths are
/// relative to the one that the list begins with. A handler with `(caller)` is told who is calling.
macro_rules! calls {
    (
        impl $service:ident as $name:literal below $prefix:literal;
        $(
            $method:ident($request:ty) -> $response:ty = $module:ident::$handler:ident $(($caller:ident))?
            $(, $source:ident $verb:ident $($path:literal)+ )? ;
        )+
    ) => {
        #[tonic::async_trait]
        impl $service for $crate::Api {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    let start = std::time::Instant::now();
                    let caller = $crate::admission::caller(&request);
                    let result = run::$method(self, &caller, request.get_ref()).await;
                    $crate::log_call(stringify!($method), start, &result);
                    Ok(tonic::Response::new(result.map_err(tonic::Status::from)?))
                }
            )+
        }

        /// Each call, told who is calling whether its handler asks or not.
        mod run {
            use super::*;

            $(
                pub(super) async fn $method(
                    api: &$crate::Api,
                    _caller: &flipt_auth::Caller,
                    request: &$request,
                ) -> Result<$response, flipt_serving::Error> {
                    $(let $caller = _caller;)?
                    $module::$handler(api, $($caller,)? request).await
                }
            )+
        }

        /// The REST bindings of every call that has some.
        pub(super) fn bindings() -> impl Iterator<Item = $crate::rest::Binding> {
            let mut bindings = Vec::new();
            $($(
                let invoke: $crate::rest::Invoke = |api, caller, body, parameters| {
                    Box::pin(async move {
                        let start = std::time::Instant::now();
                        let result = async {
                            let request: $request = calls!(@read $source body parameters);
                            run::$method(api, caller, &request).await
                        }
                        .await;
                        $crate::log_call(stringify!($method), start, &result);
                        $crate::transcode::to_json(&result?)
                    })
                };
                let encode: $crate::rest::Encode = |body, parameters| {
                    let request: $request = calls!(@read $source body parameters);
                    Ok(flipt_auth::Asked {
                        message: <$request as prost::Name>::full_name(),
                        bytes: prost::Message::encode_to_vec(&request),
                    })
                };
                for path in [$(concat!($prefix, $path)),+] {
                    bindings.push($crate::rest::Binding {
                        method: http::Method::$verb,
                        path,
                        service: $name,
                        // A call that is named as a keyword.
                        call: stringify!($method).trim_start_matches("r#"),
                        reads_body: calls!(@reads_body $source),
                        request: <$request as prost::Name>::full_name,
                        encode,
                        invoke,
                        answer: <$response as prost::Name>::full_name,
                    });
                }
            )?)+
            bindings.into_iter()
        }
    };
    (@reads_body body) => { true };
    (@reads_body query) => { false };
    (@read body $body:ident $parameters:ident) => { $crate::transcode::from_body($body, $parameters)? };
    (@read query $body:ident $parameters:ident) => {{
        let _ = $body;
        $crate::transcode::from_query($parameters)?
    }};
}

use calls;
