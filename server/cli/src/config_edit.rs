//! `flipt config edit`: the configuration file in an editor, checked before it is written (cli spec, section 8).

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::{atomic_file, environment, failure::Failure, terminal};

/// Opens an editor on a copy, and puts the copy in the place of the file.
pub(crate) fn run(given: Option<&Path>) -> Result<ExitCode, Failure> {
    let environment = environment::variables();
    let path = flipt_config::locate(given, &environment)
        .unwrap_or_else(|| flipt_config::user_config_directory(&environment).join("flipt/config.yml"));
    let unread = |error: std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!("reading config file: open {}: {reason}", path.display()))
    };
    let before = std::fs::read(&path).map_err(unread)?;
    let permissions = std::fs::metadata(&path).map_err(unread)?.permissions();

    let copy = copy_of(&path, &before)?;
    edit(&copy, &environment)?;
    let after =
        std::fs::read(&copy).map_err(|error| Failure::new(format!("reading {}: {error}", copy.display())))?;
    if after == before {
        remove(&copy);
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(problem) = check(&copy, &path, &environment)
        && !is_wanted(&problem)?
    {
        // The work must not be lost.
        return Err(Failure::new(format!(
            "{problem}\n{} was left as it was; your text is in {}",
            path.display(),
            copy.display()
        )));
    }
    atomic_file::write(&path, &after, permissions)
        .map_err(|error| Failure::new(format!("writing {}: {error}", path.display())))?;
    remove(&copy);
    Ok(ExitCode::SUCCESS)
}

fn copy_of(path: &Path, text: &[u8]) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("making a copy to edit: {error}"));
    let extension = path.extension().map_or_else(|| "yml".into(), |extension| extension.to_string_lossy());
    let mut copy = tempfile::Builder::new()
        .prefix("flipt")
        .suffix(&format!(".{extension}"))
        .tempfile()
        .map_err(failed)?;
    copy.write_all(text).map_err(failed)?;
    copy.keep().map(|(_, path)| path).map_err(|error| failed(error.error))
}

fn edit(copy: &Path, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
    let set = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).map_or("vim", String::as_str);
    // `code --wait` and the like: a program with its options.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vim");
    let failed = |problem: String| {
        remove(copy);
        Failure::new(format!("editor {editor:?} {problem}; nothing was written"))
    };
    let status = Command::new(program)
        .args(words)
        .arg(copy)
        .status()
        .map_err(|error| failed(format!("cannot be started, set $VISUAL or $EDITOR: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}"))) }
}

/// Loads the copy as a server would; what it says names the file, not the copy.
fn check(copy: &Path, path: &Path, environment: &BTreeMap<String, String>) -> Result<(), String> {
    let named = |text: String| text.replace(&*copy.to_string_lossy(), &path.to_string_lossy());
    let loaded = flipt_config::load(Some(copy), environment).map_err(|error| named(error.to_string()))?;
    for unknown in &loaded.unknown {
        eprintln!("Warning: {}", named(unknown.to_string()));
    }
    Ok(())
}

fn is_wanted(problem: &str) -> Result<bool, Failure> {
    if !terminal::is_attended() {
        return Ok(false);
    }
    eprintln!("{problem}");
    terminal::confirm("A server would not start with this. Write it all the same?")
}

fn remove(copy: &Path) {
    // A copy that stays in the temporary folder harms nobody.
    let _ = std::fs::remove_file(copy);
}
