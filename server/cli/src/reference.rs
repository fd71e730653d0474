//! `flipt doc`: a reference of all commands, one Markdown page for each.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Command, CommandFactory as _};

use crate::{arguments::Arguments, failure::Failure, usage};

const DEFAULT_FOLDER: &str = "./tmp/docs";

/// Writes the pages into a folder, which is made.
pub(crate) fn run(folders: Vec<PathBuf>) -> Result<ExitCode, Failure> {
    let folder = usage::at_most_one(folders)?.unwrap_or_else(|| DEFAULT_FOLDER.into());
    let failed =
        |error: std::io::Error| Failure::new(format!("writing pages into {}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut root = Arguments::command();
    root.build();
    write(&root, &[], &folder).map_err(failed)?;
    println!("Documentation generated in: {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &Command, above: &[&str], folder: &Path) -> std::io::Result<()> {
    let path = [above, &[command.get_name()]].concat();
    let below: Vec<&Command> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .collect();
    std::fs::write(folder.join(format!("{}.md", path.join("_"))), page(command, &path, &below))?;
    below.into_iter().try_for_each(|command| write(command, &path, folder))
}

fn page(command: &Command, path: &[&str], below: &[&Command]) -> String {
    let name = path.join(" ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!("# {name}\n\n{about}\n");
    let mut see = Vec::new();
    if let Some((_, above)) = path.split_last().filter(|(_, above)| !above.is_empty()) {
        see.push(format!("* [{}]({}.md)", above.join(" "), above.join("_")));
    }
    for command in below {
        let path = [path, &[command.get_name()]].concat();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        see.push(format!("* [{}]({}.md): {about}", path.join(" "), path.join("_")));
    }
    let help = usage::help(path.get(1..).unwrap_or_default());
    page.push_str(&format!("\n```text\n{}\n```\n", help.trim_end()));
    if !see.is_empty() {
        page.push_str(&format!("\n## See also\n\n{}\n", see.join("\n")));
    }
    page
}
