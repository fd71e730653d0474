//! Spells documents in JSON: one compact object per line.

use crate::document::output::Output;
use crate::json::{push_f32, push_f64, push_string};

/// Appends one document and its line end.
pub(crate) fn push_document(out: &mut String, document: &Output) {
    push(out, document);
    out.push('\n');
}

fn push(out: &mut String, value: &Output) {
    match value {
        Output::Null => out.push_str("null"),
        Output::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Output::Text(text) => push_string(out, text),
        Output::Percentage(number) => push_f32(out, *number),
        Output::Number(number) => push_f64(out, *number),
        Output::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push(out, item);
            }
            out.push(']');
        }
        Output::Record(fields) => push_members(out, fields.iter().map(|(key, value)| (*key, value))),
        Output::Map(members) => {
            let mut members: Vec<_> = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
            members.sort_by_key(|(key, _)| *key);
            push_members(out, members.into_iter());
        }
    }
}

fn push_members<'a>(out: &mut String, members: impl Iterator<Item = (&'a str, &'a Output)>) {
    out.push('{');
    for (index, (key, value)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(out, key);
        out.push(':');
        push(out, value);
    }
    out.push('}');
}
