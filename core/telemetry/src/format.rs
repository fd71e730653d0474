//! One log record as text (observability spec, section 3).

use std::fmt;

use chrono::{Local, SecondsFormat};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{Encoding, Keys};

pub(crate) struct Records {
    encoding: Encoding,
    keys: Keys,
}

impl Records {
    pub(crate) const fn new(encoding: Encoding, keys: Keys) -> Self {
        Self { encoding, keys }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        match (field.name(), &value) {
            ("message", Value::String(text)) => self.message.clone_from(text),
            (name, _) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, Value::String(value.to_owned()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Records
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = Local::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let level = event.metadata().level().as_str();
        match self.encoding {
            Encoding::Console => {
                write!(writer, "{time}\t{level}\t{}", fields.message)?;
                if !fields.others.is_empty() {
                    write!(writer, "\t{}", Value::Object(fields.others))?;
                }
                writeln!(writer)
            }
            Encoding::Json => {
                let mut record = Map::new();
                record.insert(self.keys.level.clone(), level.into());
                record.insert(self.keys.time.clone(), time.into());
                record.insert(self.keys.message.clone(), fields.message.into());
                record.extend(fields.others);
                writeln!(writer, "{}", Value::Object(record))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(encoding: Encoding) -> String {
        let sink = Sink::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Records::new(encoding, Keys::default()))
            .with_writer(sink.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(snapshot.revision = 7, "snapshot published");
        });
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_record_is_one_object_with_the_documented_keys() {
        let record: Value = serde_json::from_str(&written(Encoding::Json)).unwrap();
        assert_eq!(record["L"], "INFO");
        assert_eq!(record["M"], "snapshot published");
        assert_eq!(record["snapshot.revision"], 7);
        assert!(record["T"].is_string());
    }

    #[test]
    fn a_console_record_is_tab_separated_with_fields_as_json() {
        let record = written(Encoding::Console);
        let parts: Vec<&str> = record.trim_end().split('\t').collect();
        assert_eq!(parts[1..], ["INFO", "snapshot published", r#"{"snapshot.revision":7}"#]);
    }
}
