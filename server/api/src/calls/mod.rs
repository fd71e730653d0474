//! The lists of all calls, a file per service. Both transports are made from them.

mod environments;
mod flipt;

use crate::rest::Bindings;

/// The REST bindings of every call that has some.
pub(crate) fn bindings() -> Bindings {
    Bindings::new(flipt::bindings().chain(environments::bindings()).collect())
}

/// Writes both transports of every call of a service from one list: handler, gRPC method and REST paths.
///
/// `body` calls take their message from the JSON body, `query` calls from the query string. Paths are
/// relative to the one that the list begins with.
macro_rules! calls {
    (
        impl $service:ident below $prefix:literal;
        $(
            $method:ident($request:ty) -> $response:ty = $module:ident::$handler:ident
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
                    let result = $module::$handler(self, request.get_ref()).await;
                    $crate::log_call(stringify!($method), start, &result);
                    Ok(tonic::Response::new(result.map_err(tonic::Status::from)?))
                }
            )+
        }

        /// The REST bindings of every call that has some.
        pub(super) fn bindings() -> impl Iterator<Item = $crate::rest::Binding> {
            let mut bindings = Vec::new();
            $($(
                let invoke: $crate::rest::Invoke = |api, body, parameters| {
                    Box::pin(async move {
                        let start = std::time::Instant::now();
                        let result = async {
                            let request: $request = calls!(@read $source body parameters);
                            $module::$handler(api, &request).await
                        }
                        .await;
                        $crate::log_call(stringify!($method), start, &result);
                        $crate::transcode::to_json(&result?)
                    })
                };
                for path in [$(concat!($prefix, $path)),+] {
                    bindings.push($crate::rest::Binding {
                        method: http::Method::$verb,
                        path,
                        invoke,
                        answer: <$response as prost::Name>::full_name,
                    });
                }
            )?)+
            bindings.into_iter()
        }
    };
    (@read body $body:ident $parameters:ident) => { $crate::transcode::from_body($body, $parameters)? };
    (@read query $body:ident $parameters:ident) => {{
        let _ = $body;
        $crate::transcode::from_query($parameters)?
    }};
}

use calls;
