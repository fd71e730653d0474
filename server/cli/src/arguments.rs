//! The command line's grammar (cli spec).

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};

/// Feature flags for Kubernetes: the server, and tools for its data.
///
/// Without a command, runs the server: REST on port 8080, gRPC on port 9000. Settings come
/// from environment variables (FLIPT_SERVER_HTTP_PORT=…), then the configuration file, then defaults; see
/// `flipt config show` for the result.
#[derive(Debug, Parser)]
// Of an option given twice the last counts, as in Flipt.
#[command(name = "flipt", disable_help_subcommand = false, args_override_self = true)]
pub(crate) struct Arguments {
    /// Configuration file (.yml, .json or .toml).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Refuse to start with a configuration key that nobody knows.
    #[arg(long, global = true)]
    pub(crate) strict_config: bool,

    /// Run pending migrations while starting the server.
    #[arg(long, hide = true)]
    pub(crate) force_migrate: bool,

    /// Print the version.
    #[arg(short, long)]
    pub(crate) version: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write flags as documents, or publish them as a snapshot.
    Export(ExportOptions),
    /// Read documents into the database, or into a running server.
    Import(ImportOptions),
    /// Bring the database schema up to date. Back up first: there is no way back.
    Migrate(MigrateOptions),
    /// Check feature files without a server.
    Validate(ValidateOptions),
    /// Evaluate one flag on a running server.
    Evaluate(EvaluateOptions),
    /// Pack feature files into OCI bundles.
    Bundle {
        #[command(subcommand)]
        command: Option<BundleCommand>,
    },
    /// Make, change, show and check the configuration file.
    #[command(alias = "cfg")]
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Print a script that completes commands and options in a shell.
    #[command(hide = true, override_usage = "flipt completion <bash|zsh|fish|powershell>")]
    Completion {
        #[arg(value_name = "SHELL")]
        shells: Vec<String>,
    },
    /// Write a reference of all commands, one Markdown page for each.
    #[command(hide = true, override_usage = "flipt doc [FOLDER]")]
    Doc {
        #[arg(value_name = "FOLDER")]
        folders: Vec<PathBuf>,
    },
}

/// The server that a command talks to.
#[derive(Debug, Args)]
pub(crate) struct RemoteOptions {
    /// Running server to use instead of the configured database: http://, https://, grpc:// or grpcs://
    /// with host and port.
    #[arg(short, long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) address: String,

    /// Token of a client of that server.
    #[arg(
        short,
        long,
        value_name = "TOKEN",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) token: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Where to: a file (.yml, .yaml, .json), or s3://bucket/prefix or file:///folder to publish a snapshot
    /// that sidecars follow. Standard output if absent.
    #[arg(short, long, env = "FLIPT_EXPORT_OUTPUT", value_name = "FILE or URL")]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// Namespaces to export, comma-separated. For a snapshot, `*` in them stands for any text.
    #[arg(long, env = "FLIPT_EXPORT_NAMESPACES", value_name = "KEYS", value_delimiter = ',')]
    pub(crate) namespaces: Option<Vec<String>>,

    #[arg(short, long, value_name = "KEYS", value_delimiter = ',', hide = true)]
    pub(crate) namespace: Option<Vec<String>>,

    /// Export every namespace.
    #[arg(long, env = "FLIPT_EXPORT_ALL_NAMESPACES")]
    pub(crate) all_namespaces: bool,

    /// Put namespaces, flags, segments and variants in key order.
    #[arg(long)]
    pub(crate) sort_by_key: bool,

    /// Snapshot only: running server to read the state of, http:// or https:// with host and port, instead of the
    /// configured database.
    #[arg(long, env = "FLIPT_EXPORT_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Snapshot only: file with the token for the server.
    #[arg(long, env = "FLIPT_EXPORT_SERVER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) server_token_file: Option<PathBuf>,

    /// Snapshot only: file with the certificates (PEM) to trust for the server, instead of those of the machine.
    #[arg(long, env = "FLIPT_EXPORT_SERVER_CA_FILE", value_name = "FILE")]
    pub(crate) server_ca_file: Option<PathBuf>,

    /// Snapshot only: environment to read from the server, and to publish as.
    #[arg(long, env = "FLIPT_EXPORT_ENVIRONMENT", value_name = "KEY", default_value = flipt_model::DEFAULT_ENVIRONMENT)]
    pub(crate) environment: String,

    /// Snapshot only: begin a new history, for a database restored from a backup, or one that replaces another;
    /// sidecars follow if the snapshot is signed, or if they trust the change of epoch. With --server, the server's
    /// own history is published over another one.
    #[arg(long, env = "FLIPT_EXPORT_NEW_EPOCH")]
    pub(crate) new_epoch: bool,

    /// Snapshot only: refuse if the number of flags shrinks by more than this many percent.
    #[arg(long, env = "FLIPT_EXPORT_GUARD_MAX_SHRINK", value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) guard_max_shrink: u8,

    /// Snapshot only: publish a snapshot without flags over one that has some.
    #[arg(long, env = "FLIPT_EXPORT_GUARD_ALLOW_EMPTY")]
    pub(crate) guard_allow_empty: bool,

    /// Snapshot only: how many published revisions keep their objects.
    #[arg(long, env = "FLIPT_EXPORT_KEEP_REVISIONS", value_name = "NUMBER", default_value_t = 50)]
    pub(crate) keep_revisions: usize,

    /// Snapshot only: how long everything is kept in any case.
    #[arg(long, env = "FLIPT_EXPORT_KEEP_AGE", value_name = "DURATION", default_value = "168h", value_parser = time)]
    pub(crate) keep_age: Duration,

    /// Snapshot only: what to write, comma-separated: native, which sidecars read, and features, the files that a
    /// stock Flipt with object storage reads.
    #[arg(
        long,
        env = "FLIPT_EXPORT_FORMATS",
        value_name = "FORMATS",
        default_value = "native,features",
        value_delimiter = ','
    )]
    pub(crate) formats: Vec<Format>,

    /// Snapshot only: whether writes are conditional: auto does without them on a store that has none, on fails
    /// there, off never uses them.
    #[arg(long, env = "FLIPT_EXPORT_CONDITIONAL_WRITES", value_name = "CHOICE", default_value = "auto")]
    pub(crate) conditional_writes: Conditional,

    /// Snapshot only: file with the Ed25519 key (PEM) to sign with.
    #[arg(long, env = "FLIPT_EXPORT_SIGNING_KEY_FILE", value_name = "FILE")]
    pub(crate) signing_key_file: Option<PathBuf>,

    /// Snapshot only: file for one line of JSON about how the publication ended; /dev/termination-log, which
    /// Kubernetes reads, if no name is given.
    #[arg(
        long,
        env = "FLIPT_EXPORT_RECEIPT_FILE",
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "/dev/termination-log"
    )]
    pub(crate) receipt_file: Option<PathBuf>,

    /// Snapshot only: longest time for everything.
    #[arg(long, env = "FLIPT_EXPORT_TIMEOUT", value_name = "DURATION", default_value = "100s", value_parser = interval)]
    pub(crate) timeout: Duration,
}

/// What a publication writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Snapshots for sidecars.
    Native,
    /// Files for a stock Flipt.
    Features,
}

/// Whether writes are conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Conditional {
    /// Where the store knows them.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl ExportOptions {
    /// Fails if the namespaces are chosen in more than one way.
    ///
    /// # Errors
    /// The text of the cli spec, section 4.
    pub(crate) fn check_selection(&self) -> Result<(), String> {
        let given = [
            ("all-namespaces", self.all_namespaces),
            ("namespace", self.namespace.is_some()),
            ("namespaces", self.namespaces.is_some()),
        ];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if given.len() < 2 {
            return Ok(());
        }
        Err(format!(
            "if any flags in the group [all-namespaces namespaces namespace] are set none of the others can be; [{}] were all set",
            given.join(" ")
        ))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// Document to read: .yml, .yaml or .json.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Read a YAML or JSON document from standard input.
    #[arg(long)]
    pub(crate) stdin: bool,

    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// Remove every namespace, flag and segment first. Direct import does it in the same transaction.
    #[arg(long, conflicts_with = "skip_existing")]
    pub(crate) drop: bool,

    /// Do not ask before --drop removes anything. Without a terminal nothing is asked anyway.
    #[arg(short, long, requires = "drop")]
    pub(crate) yes: bool,

    /// Leave existing flags and segments as they are.
    #[arg(long)]
    pub(crate) skip_existing: bool,

    /// Namespace to import into; must exist unless --create-namespace is given.
    #[arg(short, long, value_name = "KEY")]
    pub(crate) namespace: Option<String>,

    /// Create the namespace named by --namespace.
    #[arg(long)]
    pub(crate) create_namespace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateOptions {
    /// Database to migrate.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = ["default"])]
    pub(crate) database: String,

    /// Say what would be done, with every statement, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateOptions {
    /// Files, relative to the working directory. Without any, the files a server would read.
    pub(crate) paths: Vec<String>,

    /// Directory to look in.
    #[arg(short = 'd', long, value_name = "DIR", default_value = ".")]
    pub(crate) work_dir: String,

    /// Further rules that the files must keep: a CUE file that tightens definitions such as #Flag, see
    /// docs/OPERATING.md.
    #[arg(short = 'e', long, value_name = "FILE")]
    pub(crate) extra_schema: Option<PathBuf>,

    /// Form of the report: text or json.
    #[arg(short = 'F', long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: String,

    /// Exit code when issues are found.
    #[arg(long, value_name = "CODE", default_value_t = 1)]
    pub(crate) issue_exit_code: u8,
}

#[derive(Debug, Args)]
#[command(override_usage = "flipt evaluate [OPTIONS] <FLAG>")]
pub(crate) struct EvaluateOptions {
    /// Key of the flag.
    #[arg(value_name = "FLAG")]
    pub(crate) flags: Vec<String>,

    /// Namespace of the flag.
    #[arg(short, long, value_name = "KEY", default_value = flipt_model::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,

    /// Entity to evaluate for; a random one if absent.
    #[arg(short, long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) entity_id: Option<String>,

    /// Identifier of the request; the server makes one if absent.
    #[arg(
        short,
        long,
        value_name = "ID",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) request_id: String,

    /// A property of the entity; may be given several times.
    #[arg(short, long, value_name = "KEY=VALUE", action = ArgAction::Append, allow_hyphen_values = true)]
    pub(crate) context: Vec<String>,

    /// Running server: http://, https://, grpc:// or grpcs:// with host and port.
    #[arg(short, long, value_name = "URL", default_value = "http://localhost:8080")]
    pub(crate) address: String,

    /// Token of a client of that server.
    #[arg(
        short,
        long,
        value_name = "TOKEN",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) token: String,

    /// Evaluate again and again until interrupted.
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Time between two evaluations of --watch.
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
}

/// A duration as Go writes it.
fn time(text: &str) -> Result<Duration, String> {
    flipt_config::parse_duration(text)
        .ok_or_else(|| format!("time: invalid duration {text:?}, expected one such as 500ms, 15s or 1h30m"))
}

/// A duration as Go writes it, longer than nothing.
fn interval(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected more than 0".to_owned()),
        duration => Ok(duration),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Pack the feature files of the current directory.
    #[command(override_usage = "flipt bundle build <NAME[:TAG]>")]
    Build {
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// List the bundles on this machine.
    List {
        #[arg(hide = true)]
        ignored: Vec<String>,
    },
    /// Copy a bundle.
    #[command(override_usage = "flipt bundle push <FROM> <TO>")]
    Push {
        #[arg(value_name = "FROM TO")]
        names: Vec<String>,
    },
    /// Fetch a bundle from a registry.
    #[command(override_usage = "flipt bundle pull <REMOTE>")]
    Pull {
        #[arg(value_name = "REMOTE")]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write a configuration file with the defaults.
    Init {
        /// Ask nothing, and overwrite a file that exists.
        #[arg(short = 'y', long)]
        force: bool,
    },
    /// Change the configuration file in an editor: $VISUAL, $EDITOR, or vim.
    Edit,
    /// Print the effective configuration with the origin of each value, secrets masked.
    Show,
    /// Check the configuration; unknown keys are errors.
    Validate,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn namespaces_are_chosen_in_one_way() {
        let check = |arguments: &[&str]| {
            let arguments = ["flipt", "export"].iter().chain(arguments);
            match Arguments::try_parse_from(arguments).unwrap().command {
                Some(Command::Export(options)) => options.check_selection(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(check(&["--namespaces", "a,b"]), Ok(()));
        assert!(
            check(&["--namespaces", "a", "--all-namespaces"])
                .unwrap_err()
                .ends_with("[all-namespaces namespaces] were all set")
        );
    }

    #[test]
    fn the_configuration_file_may_stand_before_or_after_the_command() {
        for arguments in [["flipt", "--config", "f", "migrate"], ["flipt", "migrate", "--config", "f"]] {
            assert_eq!(Arguments::try_parse_from(arguments).unwrap().config, Some(PathBuf::from("f")));
        }
    }
}
