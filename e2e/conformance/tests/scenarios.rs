//! Every recorded scenario, by area: what the binary answers is what Flipt v1.61.1 answered, except what
//! `deviations.toml` lists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use flipt_conformance::{Areas, Deviations, areas, files_of, flipt, judge};

fn replay_area(area: &str) {
    let binary = flipt().unwrap_or_else(|error| panic!("{error}"));
    let deviations = Deviations::read().unwrap_or_else(|error| panic!("{error}"));
    let files = files_of(area).unwrap();
    let lines = judge(&binary, &files, &deviations).unwrap_or_else(|error| panic!("{error}"));
    let mut sums = Areas::default();
    for line in &lines {
        println!("{line}");
        sums.add(line);
    }
    println!("\n{sums}");
    let wrong = lines.iter().filter(|line| !line.verdict.problems.is_empty()).count();
    assert_eq!(wrong, 0, "{wrong} of {} files of area {area} are wrong", lines.len());
}

macro_rules! replay {
    ($($area:ident)+) => {
        $(
            #[test]
            fn $area() {
                replay_area(stringify!($area));
            }
        )+

        const AREAS: &[&str] = &[$(stringify!($area)),+];
    };
}

replay! {
    auth cli config constraints declarative distributions documents evaluation flags grpc legacy meta
    namespaces ofrep rollouts rules segments snapshot takeover variants wire
}

#[test]
fn every_recorded_area_is_replayed() {
    assert_eq!(areas().unwrap(), AREAS);
}

#[test]
fn the_lists_of_deviations_name_what_there_is() {
    let files: BTreeSet<String> = AREAS.iter().flat_map(|area| files_of(area).unwrap()).collect();
    assert_eq!(Deviations::read().unwrap().unfounded(&files), Vec::<String>::new());
}
