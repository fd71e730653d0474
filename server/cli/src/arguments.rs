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
    #[arg(short, long, value_name = "FILE or URL")]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) remote: RemoteOptions,

    /// Namespaces to export, comma-separated.
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub(crate) namespaces: Option<Vec<String>>,

    #[arg(short, long, value_name = "KEYS", value_delimiter = ',', hide = true)]
    pub(crate) namespace: Option<Vec<String>>,

    /// Export every namespace.
    #[arg(long)]
    pub(crate) all_namespaces: bool,

    /// Put namespaces, flags, segments and variants in key order.
    #[arg(long)]
    pub(crate) sort_by_key: bool,

    /// Snapshot only: environment to publish as.
    #[arg(long, value_name = "KEY", default_value = flipt_model::DEFAULT_ENVIRONMENT)]
    pub(crate) environment: String,

    /// Snapshot only: begin a new history, for a database restored from a backup, or one that replaces another;
    /// sidecars follow if they trust the change of epoch.
    #[arg(long)]
    pub(crate) new_epoch: bool,

    /// Snapshot only: refuse if the number of flags shrinks by more than this many percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) guard_max_shrink: u8,

    /// Snapshot only: publish a snapshot without flags over one that has some.
    #[arg(long)]
    pub(crate) guard_allow_empty: bool,
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

/// A duration as Go writes it, longer than nothing.
fn interval(text: &str) -> Result<Duration, String> {
    match flipt_config::parse_duration(text) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        Some(_) => Err("expected more than 0".to_owned()),
        None => Err(format!("time: invalid duration {text:?}, expected one such as 500ms, 15s or 1h30m")),
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
