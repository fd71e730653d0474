//! The command line's grammar, and its errors in the form that scripts know (cli spec, section 1.4).

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{
    ArgAction, Args, CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Feature flags for Kubernetes: the server, and tools for its data.
///
/// Without a command, runs the server: REST on port 8080, gRPC on port 9000. Settings come
/// from environment variables (FLIPT_SERVER_HTTP_PORT=…), then the configuration file, then defaults; see
/// `flipt config` for the result.
#[derive(Debug, Parser)]
#[command(name = "flipt", disable_help_subcommand = false)]
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
    /// Read documents into the database, in one transaction.
    Import(ImportOptions),
    /// Bring the database schema up to date. Back up first: there is no way back.
    Migrate(MigrateOptions),
    /// Check feature files without a server.
    Validate(ValidateOptions),
    /// Show the effective configuration, secrets masked.
    #[command(alias = "cfg")]
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Where to: a file (.yml, .yaml, .json), or s3://bucket/prefix or file:///folder to publish a snapshot
    /// that sidecars follow. Standard output if absent.
    #[arg(short, long, value_name = "FILE or URL")]
    pub(crate) output: Option<String>,

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
    #[arg(value_name = "FILE", required_unless_present = "stdin")]
    pub(crate) file: Option<PathBuf>,

    /// Read a YAML or JSON document from standard input.
    #[arg(long)]
    pub(crate) stdin: bool,

    /// Remove every namespace, flag and segment first, in the same transaction.
    #[arg(long, conflicts_with = "skip_existing")]
    pub(crate) drop: bool,

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
}

#[derive(Debug, Args)]
pub(crate) struct ValidateOptions {
    /// Files, relative to the working directory. Without any, the files a server would read.
    pub(crate) paths: Vec<String>,

    /// Directory to look in.
    #[arg(short = 'd', long, value_name = "DIR", default_value = ".")]
    pub(crate) work_dir: String,

    /// Form of the report: text or json.
    #[arg(short = 'F', long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: String,

    /// Exit code when issues are found.
    #[arg(long, value_name = "CODE", default_value_t = 1)]
    pub(crate) issue_exit_code: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration; unknown keys are errors.
    Validate,
}

/// Reads the process's arguments.
///
/// # Errors
/// The exit code, after help or an error was printed.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse_from(with_plain_switches(std::env::args_os())).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => {
            eprintln!("Error: {}", describe(&error));
            ExitCode::FAILURE
        }
    })
}

/// The arguments with `--switch=true` written as `--switch`, and `--switch=false` left out (cli spec, section
/// 1.4).
fn with_plain_switches(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let switches = switches(&Arguments::command());
    let mut ended = false;
    arguments
        .filter_map(|argument| {
            ended |= argument == "--";
            let text = argument.to_str().filter(|_| !ended).and_then(|text| text.strip_prefix("--"));
            match text.and_then(|text| text.split_once('=')).filter(|(name, _)| switches.contains(*name)) {
                Some((name, "1" | "t" | "T" | "true" | "TRUE" | "True")) => Some(format!("--{name}").into()),
                Some((_, "0" | "f" | "F" | "false" | "FALSE" | "False")) => None,
                _ => Some(argument),
            }
        })
        .collect()
}

/// Names of the flags that take no value, of a command and all below it.
fn switches(command: &clap::Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue))
        .filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(switches)).collect()
}

fn describe(error: &clap::Error) -> String {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let argument = text(ContextKind::InvalidArg).unwrap_or_default();
            if argument.starts_with("--") {
                return format!("unknown flag: {argument}");
            }
            if let Some(short) = argument.strip_prefix('-').and_then(|letters| letters.chars().next()) {
                return format!("unknown shorthand flag: {short:?} in {argument}");
            }
            format!("unknown command {argument:?} for \"flipt\"\nRun 'flipt --help' for usage.")
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("unknown command {name:?} for \"flipt\"\nRun 'flipt --help' for usage.")
        }
        ErrorKind::MissingRequiredArgument if text(ContextKind::InvalidSubcommand).is_none() => {
            let rendered = error.to_string();
            if rendered.contains("<FILE>") {
                "import filename required".to_owned()
            } else {
                first_line(&rendered)
            }
        }
        _ => first_line(&error.to_string()),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments = std::iter::once(&"flipt").chain(arguments);
        describe(&Arguments::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn mistakes_are_reported_as_scripts_know_them() {
        assert_eq!(refusal(&["--foo"]), "unknown flag: --foo");
        assert_eq!(refusal(&["-z"]), "unknown shorthand flag: 'z' in -z");
        assert!(refusal(&["foo"]).starts_with("unknown command \"foo\" for \"flipt\"\n"));
        assert_eq!(refusal(&["import"]), "import filename required");
    }

    #[test]
    fn switches_may_be_written_with_a_value() {
        let plain = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from);
            with_plain_switches(arguments).into_iter().map(|a| a.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(plain(&["import", "--stdin=true", "--drop=false"]), ["import", "--stdin"]);
        for untouched in [["export", "--output=true"], ["import", "--stdin=maybe"], ["--", "--stdin=true"]] {
            assert_eq!(plain(&untouched), untouched);
        }
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
