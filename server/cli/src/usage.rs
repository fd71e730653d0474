//! Mistakes on the command line, told in the form that scripts know (cli spec, section 1.4).

use std::{collections::BTreeSet, ffi::OsString, process::ExitCode};

use clap::{
    ArgAction, Command, CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{arguments::Arguments, failure::Failure};

/// Reads the process's arguments.
///
/// # Errors
/// The exit code, after help or an error was printed.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    let given: Vec<OsString> = std::env::args_os().collect();
    Arguments::try_parse_from(with_plain_switches(given.iter().cloned())).map_err(|error| {
        match error.kind() {
            ErrorKind::DisplayHelp => match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            },
            _ => {
                eprintln!("Error: {}", describe(&error, &given));
                ExitCode::FAILURE
            }
        }
    })
}

/// The help text of a command, as its `--help` prints it.
pub(crate) fn help(path: &[&str]) -> String {
    let arguments = ["flipt"].iter().chain(path).chain(&["--help"]);
    match Arguments::try_parse_from(arguments) {
        Ok(_) => String::new(),
        Err(help) => help.render().to_string(),
    }
}

/// Fails unless there are as many arguments as a command takes.
///
/// # Errors
/// The text that scripts know.
pub(crate) fn exactly<const N: usize, T>(given: Vec<T>) -> Result<[T; N], Failure> {
    <[T; N]>::try_from(given)
        .map_err(|given: Vec<T>| Failure::new(format!("accepts {N} arg(s), received {}", given.len())))
}

/// Fails if there are more arguments than one.
///
/// # Errors
/// The text that scripts know.
pub(crate) fn at_most_one<T>(mut given: Vec<T>) -> Result<Option<T>, Failure> {
    match given.len() {
        0 | 1 => Ok(given.pop()),
        count => Err(Failure::new(format!("accepts at most 1 arg(s), received {count}"))),
    }
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
fn switches(command: &Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue))
        .filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(switches)).collect()
}

/// What is wrong, for these arguments of the process.
fn describe(error: &clap::Error, given: &[OsString]) -> String {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            if argument.starts_with("--") {
                return format!("unknown flag: {}", argument.split('=').next().unwrap_or_default());
            }
            if let Some(short) = argument.strip_prefix('-').and_then(|letters| letters.chars().next()) {
                return format!("unknown shorthand flag: {short:?} in {argument}");
            }
            unknown_command(&argument, given)
        }
        ErrorKind::InvalidSubcommand => {
            unknown_command(&text(ContextKind::InvalidSubcommand).unwrap_or_default(), given)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let names = flag_names(&argument, given);
            if value.is_empty() && !gave_empty_value(given) {
                return match names.split_once(", ") {
                    Some((short, _)) if given.last().is_some_and(|last| last == short) => {
                        format!(
                            "flag needs an argument: {:?} in {short}",
                            short.chars().nth(1).unwrap_or('?')
                        )
                    }
                    _ => format!("flag needs an argument: {}", names.rsplit(", ").next().unwrap_or_default()),
                };
            }
            let reason = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                    format!("expected one of {}", valid.join(", "))
                }
                _ => std::error::Error::source(error).map(ToString::to_string).unwrap_or_default(),
            };
            format!("invalid argument {value:?} for {names:?} flag: {reason}")
        }
        ErrorKind::TooManyValues => {
            // Of a switch: `--stdin=maybe`.
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let names = flag_names(&argument, given);
            format!("invalid argument {value:?} for {names:?} flag: expected true or false")
        }
        _ => first_line(&error.to_string()),
    }
}

fn unknown_command(name: &str, given: &[OsString]) -> String {
    let path = command_path(given);
    let path: Vec<&str> = path.iter().map(Command::get_name).collect();
    let path = path.join(" ");
    format!("unknown command {name:?} for {path:?}\nRun '{path} --help' for usage.")
}

/// The commands that the arguments name, from the root on.
fn command_path(given: &[OsString]) -> Vec<Command> {
    let mut path = vec![Arguments::command()];
    for argument in given.iter().skip(1).filter_map(|argument| argument.to_str()) {
        let next = path.last().and_then(|command| command.find_subcommand(argument)).cloned();
        path.extend(next);
    }
    path
}

/// The names of the flag that the library shows as `--interval <DURATION>`, in the form `-i, --interval`.
fn flag_names(shown: &str, given: &[OsString]) -> String {
    let long = shown.split([' ', '=', '[']).next().unwrap_or_default();
    let path = command_path(given);
    let short = path
        .iter()
        .rev()
        .flat_map(Command::get_arguments)
        .find(|argument| long.strip_prefix("--") == argument.get_long())
        .and_then(|argument| argument.get_short());
    match short {
        Some(short) => format!("-{short}, {long}"),
        None => long.to_owned(),
    }
}

/// Whether a value was given, and is the empty text.
fn gave_empty_value(given: &[OsString]) -> bool {
    given.iter().filter_map(|argument| argument.to_str()).any(|text| text.is_empty() || text.ends_with('='))
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> =
            std::iter::once(&"flipt").chain(arguments).map(OsString::from).collect();
        describe(&Arguments::try_parse_from(&arguments).unwrap_err(), &arguments)
    }

    #[test]
    fn mistakes_are_reported_as_scripts_know_them() {
        for (arguments, expected) in [
            (&["--foo"][..], "unknown flag: --foo"),
            (&["export", "--foo=bar"], "unknown flag: --foo"),
            (&["-z"], "unknown shorthand flag: 'z' in -z"),
            (&["foo"], "unknown command \"foo\" for \"flipt\"\nRun 'flipt --help' for usage."),
            (
                &["export", "extra"],
                "unknown command \"extra\" for \"flipt export\"\nRun 'flipt export --help' for usage.",
            ),
            (
                &["bundle", "foo"],
                "unknown command \"foo\" for \"flipt bundle\"\nRun 'flipt bundle --help' for usage.",
            ),
            (
                &["evaluate", "a", "-i", "soon"],
                "invalid argument \"soon\" for \"-i, --interval\" flag: time: invalid duration \"soon\", expected one such as 500ms, 15s or 1h30m",
            ),
            (
                &["validate", "--issue-exit-code", "x"],
                "invalid argument \"x\" for \"--issue-exit-code\" flag: invalid digit found in string",
            ),
            (
                &["migrate", "--database=x"],
                "invalid argument \"x\" for \"--database\" flag: expected one of default",
            ),
            (
                &["import", "--stdin=maybe"],
                "invalid argument \"maybe\" for \"--stdin\" flag: expected true or false",
            ),
            (&["export", "--output"], "flag needs an argument: --output"),
            (&["export", "-o"], "flag needs an argument: 'o' in -o"),
        ] {
            assert_eq!(refusal(arguments), expected, "{arguments:?}");
        }
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
    fn of_an_option_given_twice_the_last_counts() {
        let arguments = Arguments::try_parse_from(["flipt", "--config", "a", "export", "-o", "x", "-o", "y"]);
        let Some(crate::arguments::Command::Export(options)) = arguments.unwrap().command else { panic!() };
        assert_eq!(options.output.as_deref(), Some("y"));
    }
}
