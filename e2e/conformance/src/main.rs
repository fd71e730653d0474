//! `flipt-conformance [PREFIX…]`: replays the case files whose names start so, and prints the table.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use flipt_conformance::{Areas, Deviations, Error, areas, files_of, flipt, judge};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Error> {
    let prefixes: Vec<String> = std::env::args().skip(1).collect();
    let mut files = Vec::new();
    for area in areas()? {
        files.extend(files_of(&area)?);
    }
    files.retain(|file| prefixes.is_empty() || prefixes.iter().any(|prefix| file.starts_with(prefix)));
    let lines = judge(&flipt()?, &files, &Deviations::read()?)?;
    let mut sums = Areas::default();
    for line in &lines {
        println!("{line}");
        sums.add(line);
    }
    println!("\n{sums}");
    Ok(lines.iter().all(|line| line.verdict.problems.is_empty()))
}
