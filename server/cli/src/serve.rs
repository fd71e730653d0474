//! The server process: what is started in which order, and how it ends (cli spec, section 2).

use std::{future::Future, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use flipt_api::{Api, Cors, ServerHttp};
use flipt_auth::{Authentications, GrpcAdmission, Guard, ServiceAccounts};
use flipt_proto::{
    auth::{
        authentication_method_kubernetes_service_server::AuthenticationMethodKubernetesServiceServer,
        authentication_method_token_service_server::AuthenticationMethodTokenServiceServer,
        authentication_service_server::AuthenticationServiceServer,
        public_authentication_service_server::PublicAuthenticationServiceServer,
    },
    client::client_evaluation_service_server::ClientEvaluationServiceServer,
    environments::environments_service_server::EnvironmentsServiceServer,
    evaluation::{
        data_service_server::DataServiceServer, evaluation_service_server::EvaluationServiceServer,
    },
    flipt::flipt_server::FliptServer,
    meta::metadata_service_server::MetadataServiceServer,
    ofrep::ofrep_service_server::OfrepServiceServer,
    ownership::ownership_service_server::OwnershipServiceServer,
};
use flipt_serving::{
    EvaluationGrpc, EvaluationMetrics, Gate, Labels, ListenerLimits, OfrepGrpc, Open, serve_http,
};
use flipt_snapshots::SigningKey;
use flipt_store::migrations::Policy;
use flipt_telemetry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    about,
    config::Sources,
    failure::Failure,
    health,
    publisher::Publisher,
    reflection,
    storage::{self, Storage},
};

/// How long open requests may go on after a signal.
const DRAIN: Duration = Duration::from_secs(5);
/// Head size as Flipt's (api spec, section 2.1).
const LIMITS: ListenerLimits = ListenerLimits { head_bytes: 1024 * 1024, connections: 4_096 };
/// Longest time a gRPC call may take.
const GRPC_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the server until SIGINT or SIGTERM.
pub(crate) async fn run(sources: &Sources, force_migrate: bool) -> Result<ExitCode, Failure> {
    let loaded = sources.load_all_and_log(true)?;
    let about = about::documents(&loaded);
    let config = loaded.config;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "flipt starting");
    if let Err(error) = create_state_directory(&config.meta.state_directory) {
        tracing::warn!(path = %config.meta.state_directory.display(), error = %error, "state directory not created");
    }
    let grpc_listener = bind(&config.server.host, config.server.grpc_port, "grpc").await?;
    let http_listener = bind(&config.server.host, config.server.http_port, "http").await?;

    let policy = if force_migrate { Policy::Forced } else { Policy::FirstRun };
    let registry = Registry::default();
    let Storage { environments, credentials, keeper, cache, database } =
        storage::open(&config, policy, &registry).await?;

    let metrics = EvaluationMetrics::new(&registry, Labels::PerFlag);
    let (stop, stopped) = watch::channel(false);
    let (drain, draining) = watch::channel(false);
    let until_stop = || {
        let mut stopped = stopped.clone();
        async move {
            // An error means the sender is gone, which is the end too.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let service_accounts = config.authentication.kubernetes.as_ref().map(|kubernetes| {
        Arc::new(ServiceAccounts::new(kubernetes, |name| std::env::var(name).ok(), &registry))
    });
    let authentications = Authentications::new(credentials, config.authentication.clone())
        .with_service_accounts(service_accounts.clone());
    authentications
        .bootstrap()
        .await
        .map_err(|error| Failure::new(format!("creating bootstrap token: {error}")))?;
    let guard = Guard::new(authentications.clone(), environments.iter().skip(1).map(|(key, _)| key));
    let mut api = Api::new(
        environments.clone(),
        authentications.clone(),
        about,
        config.storage.read_only,
        metrics,
        stopped.clone(),
    );
    let signing_key = match &config.snapshots.signing_key_file {
        Some(path) => {
            let key = SigningKey::from_file(path)
                .map_err(|error| Failure::new(format!("snapshots.publish.signing_key_file: {error}")))?;
            Some(Arc::new(key))
        }
        None => None,
    };
    if let Some(key) = &signing_key {
        api = api.with_signing(Arc::clone(key));
    }
    if config.cache.enabled {
        api = api.with_polling(config.cache.ttl.duration());
    }
    // Whoever gets as far as a service was admitted by the guard.
    let gate: Arc<dyn Gate> = Arc::new(Open);

    let addresses = (local_address(&grpc_listener)?, local_address(&http_listener)?);
    let (health, health_service) = health::service();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection_v1 = reflection::builder(&authentications).build_v1().map_err(Failure::new)?;
    let reflection_v1alpha = reflection::builder(&authentications).build_v1alpha().map_err(Failure::new)?;
    let grpc = Server::builder()
        .timeout(GRPC_TIMEOUT)
        .layer(GrpcAdmission::new(guard.clone()))
        .add_service(health_service)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .add_service(FliptServer::new(api.clone()))
        .add_service(DataServiceServer::new(api.clone()))
        .add_service(ClientEvaluationServiceServer::new(api.clone()))
        .add_service(EnvironmentsServiceServer::new(api.clone()))
        .add_service(OwnershipServiceServer::new(api.clone()))
        .add_service(EvaluationServiceServer::new(EvaluationGrpc::new(
            api.evaluator().clone(),
            Arc::clone(&gate),
        )))
        .add_service(OfrepServiceServer::new(OfrepGrpc::new(api.evaluator().clone(), gate)))
        .add_service(PublicAuthenticationServiceServer::new(api.clone()))
        .add_service(AuthenticationServiceServer::new(api.clone()))
        // These two answer while their method is enabled; the guard sees to that.
        .add_service(AuthenticationMethodKubernetesServiceServer::new(api.clone()))
        .add_service(AuthenticationMethodTokenServiceServer::new(api.clone()))
        .add_service(MetadataServiceServer::new(api.clone()));
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let ending = until_stop();
    tasks.spawn(async move {
        grpc.serve_with_incoming_shutdown(TcpIncoming::from(grpc_listener).with_nodelay(Some(true)), ending)
            .await
            .map_err(|error| Failure::new(format!("grpc server: {error}")))
    });
    let mut http = ServerHttp::new(api, guard, registry.clone()).with_draining(draining);
    if config.cors.enabled {
        http = http.with_cors(Cors::new(&config.cors.allowed_origins, &config.cors.allowed_headers));
    }
    let http = Arc::new(http);
    let ending = until_stop();
    tasks.spawn(async move {
        serve_http(http_listener, http, LIMITS, ending, DRAIN).await;
        Ok(())
    });
    let ending = until_stop();
    tasks.spawn(async move {
        keeper.run(ending).await;
        Ok(())
    });
    if let Some(cache) = cache {
        let ending = until_stop();
        tasks.spawn(async move {
            cache.sweep(ending).await;
            Ok(())
        });
    }
    let ending = until_stop();
    tasks.spawn(async move {
        authentications.clean_up(ending).await;
        Ok(())
    });
    if let Some(service_accounts) = service_accounts {
        let ending = until_stop();
        tasks.spawn(async move {
            service_accounts.keep_keys(ending).await;
            Ok(())
        });
    }
    for publisher in Publisher::all(&environments, &config.snapshots, signing_key.as_ref(), &registry) {
        let ending = until_stop();
        tasks.spawn(async move {
            publisher.run(ending).await;
            Ok(())
        });
    }
    tracing::info!(grpc.address = %addresses.0, http.address = %addresses.1, "api available");

    let mut outcome = tokio::select! {
        signal = signalled() => signal,
        // A task ends by itself only if it failed.
        Some(ended) = tasks.join_next() => joined(ended),
    };
    tracing::info!("shutting down...");
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    drain.send_replace(true);
    if outcome.is_ok() && !config.server.shutdown_delay.is_zero() {
        // Load balancers look now and then; a second signal ends the wait.
        let _ = tokio::time::timeout(config.server.shutdown_delay, signalled()).await;
    }
    stop.send_replace(true);
    let drained = tokio::time::timeout(DRAIN * 2, async {
        while let Some(ended) = tasks.join_next().await {
            let result = joined(ended);
            if outcome.is_ok() {
                outcome = result;
            }
        }
    })
    .await;
    if drained.is_err() {
        tracing::warn!("calls still open at shutdown were cut off");
    }
    if let Some(database) = database {
        database.close().await;
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn joined(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::new(format!("a part of the server broke down: {error}"))))
}

async fn bind(host: &str, port: u16, name: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        Failure::new(format!(
            "creating {name} listener: {host}:{port}: {error}; set server.{name}_port or FLIPT_SERVER_{}_PORT",
            name.to_uppercase()
        ))
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::new(format!("listener without address: {error}")))
}

fn signalled() -> impl Future<Output = Result<(), Failure>> {
    let interrupt = signal(SignalKind::interrupt());
    let terminate = signal(SignalKind::terminate());
    async move {
        let failed = |error| Failure::new(format!("listening for signals: {error}"));
        let (mut interrupt, mut terminate) = (interrupt.map_err(failed)?, terminate.map_err(failed)?);
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }
}

fn create_state_directory(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
