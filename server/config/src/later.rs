//! Keys of Flipt that this version does not act on: they are read, checked for their types and shown.

use std::time::Duration;

use crate::{Effective, reader::Reader};

/// Such sections. They are not "unknown", but whoever sets them should hear about it.
const SECTIONS: [&str; 1] = ["experimental"];

/// What a key holds, with its default.
enum Kind {
    Count(u32),
    Text(&'static str),
    /// In seconds.
    Duration(u64),
}

use Kind::{Count, Duration as Span, Text};

const KEYS: [(&str, Kind); 5] = [
    ("server.https_port", Count(443)),
    ("ui.default_theme", Text("system")),
    ("ui.topbar.label", Text("")),
    ("server.grpc_conn_max_age", Span(0)),
    ("server.grpc_conn_max_idle_time", Span(0)),
];

/// Reads the keys and gives them as they are shown. They are no part of what is printed as in force.
pub(crate) fn read(reader: &mut Reader<'_>) -> Vec<Effective> {
    for section in SECTIONS {
        if let Some(origin) = reader.is_set(section) {
            reader.note(format!("{origin}: section {section} has no effect in this version"));
        }
        reader.accept_all(section);
    }
    reader.aside(|reader| {
        for (key, kind) in KEYS {
            match kind {
                Count(default) => {
                    reader.count(key, default);
                }
                Text(default) => {
                    reader.text(key, default);
                }
                Span(seconds) => {
                    reader.duration(key, Duration::from_secs(seconds), Duration::ZERO);
                }
            }
        }
    })
}
