//! `flipt validate`: checks feature files as a server would read them.

use std::{
    path::{Component, Path},
    process::ExitCode,
};

use flipt_model::document::{Issue, feature_encoding, load_features, validate_features};

use crate::{arguments::ValidateOptions, extra_schema::ExtraSchema, failure::Failure};

/// Checks the files named, or those the index selects. Stops at the first file with issues.
pub(crate) fn run(options: &ValidateOptions) -> Result<ExitCode, Failure> {
    if options.work_dir.is_empty() {
        return Err(Failure::new("non-empty working directory expected"));
    }
    let root = Path::new(&options.work_dir);
    let names = if options.paths.is_empty() {
        flipt_declarative::selected_files(root).map_err(Failure::new)?
    } else {
        options.paths.clone()
    };
    let extra = options.extra_schema.as_deref().map(ExtraSchema::read).transpose()?;
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let text = read(root, &name)?;
        let encoding = feature_encoding(&name).map_err(Failure::new)?;
        let base =
            Path::new(&name).file_name().map_or(name.clone(), |base| base.to_string_lossy().into_owned());
        let mut issues = validate_features(&text, encoding, &base)
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        if let Some(extra) = extra.as_ref().filter(|_| issues.is_empty()) {
            issues = extra.issues(&text, encoding, &base)?;
        }
        if !issues.is_empty() {
            print!("{}", if options.format == "json" { json_report(&issues) } else { text_report(&issues) });
            return Ok(ExitCode::from(options.issue_exit_code));
        }
        files.push((name, text));
    }
    load_features(&files).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

fn read(root: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Failure::new(format!(
            "open {name}: paths are relative to the working directory, without .."
        )));
    }
    let full = root.join(path);
    std::fs::read(&full).map_err(|error| Failure::new(format!("open {}: {error}", full.display())))
}

fn text_report(issues: &[Issue]) -> String {
    let mut report = "Validation failed!\n".to_owned();
    for issue in issues {
        report.push_str(&format!(
            "\n- Message  : {}\n  File     : {}\n  Line     : {}\n\n",
            issue.message, issue.file, issue.line
        ));
    }
    report
}

/// One line, keys in the reference's order.
fn json_report(issues: &[Issue]) -> String {
    let text = |value: &str| flipt_model::validation::canonical_json(&value.into());
    let list: Vec<String> = issues
        .iter()
        .map(|issue| {
            format!(
                r#"{{"message":{},"location":{{"file":{},"line":{}}}}}"#,
                text(&issue.message),
                text(&issue.file),
                issue.line
            )
        })
        .collect();
    format!("[{}]\n", list.join(","))
}
