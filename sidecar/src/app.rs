//! The sidecar process: what is started in which order, and how it ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use flipt_proto::{
    auth::authentication_method_kubernetes_service_server::AuthenticationMethodKubernetesServiceServer,
    evaluation::evaluation_service_server::EvaluationServiceServer,
    ofrep::ofrep_service_server::OfrepServiceServer,
};
use flipt_serving::{
    EvaluationGrpc, EvaluationHttp, EvaluationMetrics, Evaluator, Gate, HttpService, KeyFile, Labels,
    ListenerLimits, OfrepGrpc, Open, ServiceAccounts, serve_http,
};
use flipt_snapshots::{
    Follower, Location, Store,
    follow::{CacheDir, CacheOutcome, FollowOptions, Limits, seed_from},
};
use flipt_telemetry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tonic::transport::{
    Server,
    server::{Router, TcpIncoming},
};

use crate::{
    config::{Config, Follow, summary},
    data::{Data, ExchangeGrpc},
    health::Health,
    holder::Holder,
    memory,
};

/// How long open requests may go on after a signal. The kubelet stops sidecars last, so there are few.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the key file is read without a request asking for it.
const KEY_REFRESH: Duration = Duration::from_secs(30);
/// What applications may use of a container that has little memory.
const DATA_LIMITS: ListenerLimits = ListenerLimits { head_bytes: 64 * 1024, connections: 1_024 };
/// What anybody who reaches the pod may use.
const HEALTH_LIMITS: ListenerLimits = ListenerLimits { head_bytes: 16 * 1024, connections: 64 };
/// Longest time a gRPC call may take.
const GRPC_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the sidecar until SIGINT or SIGTERM.
pub(crate) async fn run(config: Config) -> Result<(), String> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        settings = ?summary(&config),
        "flipt-sidecar starting"
    );
    let registry = Registry::default();
    let mut follower = follower(&config.follow).await?;
    let holder = Arc::new(Holder::new(follower.status(), config.follow.namespaces.clone()));

    let loader = Arc::clone(&holder);
    let accept = move |snapshot, pointer: &_| loader.accept(snapshot, pointer);
    match follower.load_cache(accept.clone()).await {
        CacheOutcome::Loaded(pointer) => {
            tracing::info!(
                snapshot.revision = pointer.revision,
                "last known good snapshot loaded from the cache"
            );
        }
        CacheOutcome::Empty => {}
        CacheOutcome::Failed(error) => tracing::warn!(error = %error, "cached snapshot not usable"),
        CacheOutcome::Rejected(reason) => tracing::warn!(error = reason, "cached snapshot not usable"),
    }

    let accounts = config.auth.as_ref().map(|auth| {
        let mut keys = KeyFile::new(&auth.jwks_file);
        if auth.verifier.issuers.is_empty() {
            keys = keys.with_issuer_beside();
        }
        Arc::new(ServiceAccounts::new(auth.verifier.clone(), keys, &registry))
    });
    let gate: Arc<dyn Gate> = match &accounts {
        Some(accounts) => Arc::clone(accounts) as Arc<dyn Gate>,
        None => Arc::new(Open),
    };
    let evaluator = Evaluator::new(
        Arc::clone(&holder) as Arc<dyn flipt_serving::Source>,
        EvaluationMetrics::new(&registry, Labels::Bounded),
    );

    let loopback_only = config.listeners.http.iter().all(|address| address.ip().is_loopback());
    let evaluation = EvaluationHttp::new(evaluator.clone(), Arc::clone(&gate));
    let health = Arc::new(Health::new(Arc::clone(&holder), config.start_policy, config.ages, registry));
    let data = Arc::new(Data::new(
        evaluation,
        Arc::clone(&holder),
        Arc::clone(&health),
        accounts.clone(),
        loopback_only,
    ));
    let grpc = Server::builder()
        .timeout(GRPC_TIMEOUT)
        .add_service(EvaluationServiceServer::new(EvaluationGrpc::new(evaluator.clone(), Arc::clone(&gate))))
        .add_service(OfrepServiceServer::new(OfrepGrpc::new(evaluator, gate)));
    let grpc = match &accounts {
        Some(accounts) => grpc.add_service(AuthenticationMethodKubernetesServiceServer::new(
            ExchangeGrpc::new(Arc::clone(accounts)),
        )),
        None => grpc,
    };

    let (stop, stopped) = watch::channel(false);
    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    for listener in bind_all("--listen", &config.listeners.http).await? {
        spawn_http(
            &mut tasks,
            listener,
            Arc::clone(&data) as Arc<dyn HttpService>,
            DATA_LIMITS,
            stopped.clone(),
        );
    }
    for listener in bind_all("--grpc-listen", &config.listeners.grpc).await? {
        spawn_grpc(&mut tasks, listener, grpc.clone(), stopped.clone());
    }
    let listener = bind("--health-listen", config.listeners.health).await?;
    spawn_http(
        &mut tasks,
        listener,
        Arc::clone(&health) as Arc<dyn HttpService>,
        HEALTH_LIMITS,
        stopped.clone(),
    );

    let watchdog = Arc::clone(&health);
    let background = tokio::spawn(async move { watchdog.watchdog().await });
    let keys = accounts.map(|accounts| {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEY_REFRESH).await;
                accounts.refresh();
            }
        })
    });
    let ending = until(stopped);
    tasks.spawn(async move {
        follower.run(accept, ending).await;
        Ok(())
    });
    tracing::info!(
        http.address = ?config.listeners.http,
        grpc.address = ?config.listeners.grpc,
        health.address = %config.listeners.health,
        "listening"
    );

    let outcome = tokio::select! {
        signalled = signalled() => signalled,
        // A task ends by itself only if it failed.
        Some(ended) = tasks.join_next() => ended.unwrap_or_else(|error| Err(format!("a part broke down: {error}"))),
    };
    tracing::info!("shutting down");
    stop.send_replace(true);
    background.abort();
    if let Some(keys) = keys {
        keys.abort();
    }
    let drained = tokio::time::timeout(DRAIN + Duration::from_millis(500), async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        tracing::warn!("calls still open at shutdown were cut off");
    }
    outcome
}

async fn follower(settings: &Follow) -> Result<Follower, String> {
    let store = open(&settings.source).await?;
    let mut fallbacks = Vec::with_capacity(settings.fallbacks.len());
    for location in &settings.fallbacks {
        fallbacks.push(open(location).await?);
    }
    let options = FollowOptions {
        poll_interval: settings.poll_interval,
        jitter_seed: seed_from(&settings.identity),
        trust_epoch_change: settings.trust_epoch_change,
        verify: settings.verify.clone(),
        fallbacks,
        cache: settings.cache_dir.as_ref().map(CacheDir::new),
        limits: Limits {
            memory_left: Some(Arc::new(|| memory::left().unwrap_or(u64::MAX))),
            ..Limits::default()
        },
        ..FollowOptions::new(&settings.environment)
    };
    Follower::new(store, options).map_err(|error| format!("--environment: {error}"))
}

async fn open(location: &Location) -> Result<Arc<dyn Store>, String> {
    let store = flipt_snapshots::open(location).await.map_err(|error| format!("--source: {error}"))?;
    Ok(store.into())
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{setting}: cannot listen on {address}: {error}; choose another address"))
}

/// Binds every address. An IPv6 loopback that the machine does not have is passed over if another address
/// serves: many nodes have none.
async fn bind_all(setting: &str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error)
                if address.is_ipv6()
                    && addresses.len() > 1
                    && error.kind() == std::io::ErrorKind::AddrNotAvailable =>
            {
                tracing::info!(%address, "this machine has no such address; not listening there");
            }
            Err(_) => listeners.push(bind(setting, *address).await?),
        }
    }
    Ok(listeners)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means the sender is gone, which is the end too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn spawn_http(
    tasks: &mut JoinSet<Result<(), String>>,
    listener: TcpListener,
    service: Arc<dyn HttpService>,
    limits: ListenerLimits,
    stopped: watch::Receiver<bool>,
) {
    tasks.spawn(async move {
        serve_http(listener, service, limits, until(stopped), DRAIN).await;
        Ok(())
    });
}

fn spawn_grpc(
    tasks: &mut JoinSet<Result<(), String>>,
    listener: TcpListener,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    tasks.spawn(async move {
        router
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                until(stopped),
            )
            .await
            .map_err(|error| format!("grpc server: {error}"))
    });
}

async fn signalled() -> Result<(), String> {
    let failed = |error| format!("listening for signals: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
