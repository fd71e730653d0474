//! A private Redis.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{
    folder, free_port,
    process::{self, ServerProcess},
};

/// Redis runs as whoever starts it.
const USER: &str = "root";

/// Name of the server's program.
const SERVER: &str = "redis-server";

/// A Redis server on 127.0.0.1. What it holds is gone when it is killed, unless its arguments say otherwise.
#[derive(Debug)]
pub struct Redis {
    process: ServerProcess,
    folder: TempDir,
    port: u16,
    tls: bool,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts a server that everybody on this machine may use.
    ///
    /// # Panics
    /// If Redis is not installed or does not start; so for everything here.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these arguments beside its own: `--name`, then its values.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::make(arguments, false)
    }

    /// Starts a server that speaks TLS only, with a certificate for 127.0.0.1 and `localhost` of an authority of
    /// its own.
    #[must_use]
    pub fn start_with_tls(arguments: &[&str]) -> Self {
        Self::make(arguments, true)
    }

    fn make(arguments: &[&str], tls: bool) -> Self {
        let folder = folder::create();
        if tls {
            write_certificates(folder.path());
        }
        // Debian has the server in its package of tools, under the name of another tool, without the system
        // service that the package of the server brings. The name it is started by decides what it is.
        symlink(program("redis-check-rdb"), folder.path().join(SERVER)).expect("a link");
        let process = ServerProcess::new(folder.path().join("log"));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { process, folder, port: free_port(), tls, arguments };
        server.restart();
        server
    }

    /// Starts the server again on its port; one that still runs is killed first.
    pub fn restart(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path().display().to_string());
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--dir", &folder, "--save", "", "--daemonize", "no"]
                .map(str::to_owned)
                .into();
        if self.tls {
            let file = |name: &str| self.folder.path().join(name).display().to_string();
            arguments
                .extend(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"].map(str::to_owned));
            arguments.extend(["--tls-cert-file".to_owned(), file("server.pem")]);
            arguments.extend(["--tls-key-file".to_owned(), file("server.key")]);
            arguments.extend(["--tls-ca-cert-file".to_owned(), file(AUTHORITY)]);
        } else {
            arguments.extend(["--port", &port].map(str::to_owned));
        }
        arguments.extend(self.arguments.iter().cloned());
        let (cli, common) = (program("redis-cli"), self.cli_arguments());
        self.process.start(
            USER,
            &self.folder.path().join(SERVER),
            arguments.iter().map(Into::into).collect(),
            || {
                // A refusal of the unknown caller is an answer, too.
                let answer = Command::new(&cli).args(&common).arg("ping").output();
                answer.is_ok_and(|answer| {
                    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
                    answer.status.success() && (text.contains("PONG") || text.contains("NOAUTH"))
                })
            },
        );
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Runs a command, after these arguments of `redis-cli`, and gives what is printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let common = self.cli_arguments();
        let all: Vec<&str> = common.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let output = process::run(USER, &program("redis-cli"), &all);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn cli_arguments(&self) -> Vec<String> {
        let mut arguments =
            vec!["-h".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), self.port.to_string()];
        if self.tls {
            let authority = self.authority().display().to_string();
            arguments.extend(["--tls".to_owned(), "--cacert".to_owned(), authority]);
        }
        arguments
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// File with the certificate of the authority that vouches for a server with TLS.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.pid()
    }
}

/// A Redis cluster: three servers with a third of the keys each, and no replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster; it is ready when this returns.
    #[must_use]
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
            })
            .collect();
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.push("--cluster-yes");
        process::run(USER, &program("redis-cli"), &arguments);
        let cluster = Self { nodes };
        cluster.wait_until_ready();
        cluster
    }

    /// Waits until every server knows that all keys are served.
    pub fn wait_until_ready(&self) {
        for node in &self.nodes {
            let deadline = std::time::Instant::now() + process::PATIENCE;
            while !node.cli(&["cluster", "info"]).contains("cluster_state:ok") {
                assert!(std::time::Instant::now() < deadline, "the cluster does not form:\n{}", node.log());
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }

    /// The servers.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// One of the servers, to kill or to start again.
    pub fn node(&mut self, number: usize) -> &mut Redis {
        &mut self.nodes[number]
    }
}

/// The authority's certificate.
const AUTHORITY: &str = "authority.pem";

/// Makes an authority, and a server's certificate of it.
fn write_certificates(folder: &Path) {
    let named = |name: &str, addresses: &[&str]| {
        let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
        let mut certificate = CertificateParams::new(addresses).expect("names");
        // Whoever has the same name as the authority counts as signed by itself.
        certificate.distinguished_name.push(DnType::CommonName, name);
        certificate
    };
    let mut authority = named("authority of the tests", &[]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server =
        named("redis", &["127.0.0.1", "localhost"]).signed_by(&key, &authority).expect("a certificate");
    let files =
        [(AUTHORITY, authority.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file");
    }
}

fn program(name: &str) -> PathBuf {
    process::find(name, &["/usr/bin"], "redis-tools")
}
