//! `audit`: a record of who changed what (auth spec, section 17.1).

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use flipt_telemetry::Encoding;

use crate::{Secret, Wording, reader::Reader, storage::shown_if};

/// `audit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// The sink into a log, if it is on.
    pub log: Option<LogSink>,
    /// The sink into a web hook, if it is on.
    pub webhook: Option<Webhook>,
    /// The sink into Kafka, if it is on.
    pub kafka: Option<Kafka>,
    /// How many events are sent together.
    pub capacity: u32,
    /// How long an event waits for others at most.
    pub flush_period: Duration,
    /// Which events are recorded.
    pub events: BTreeSet<Event>,
}

/// `audit.sinks.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSink {
    /// The file; standard output if absent.
    pub file: Option<PathBuf>,
    /// How events are written; as the log if absent.
    pub encoding: Option<AuditEncoding>,
}

/// How a log sink writes events.
pub type AuditEncoding = Encoding;

/// `audit.sinks.webhook`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where events go; empty if templates say so.
    pub url: String,
    /// Upper bound of one wait before a retry.
    pub max_backoff: Duration,
    /// Key of the signature.
    pub signing_secret: Option<Secret>,
}

/// `audit.sinks.kafka`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// The topic.
    pub topic: String,
    /// Addresses to start from.
    pub bootstrap_servers: Vec<String>,
    /// How events are written.
    pub encoding: KafkaEncoding,
}

/// How events are written to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaEncoding {
    /// Protocol buffers.
    Protobuf,
    /// Avro.
    Avro,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Noun {
    Constraint,
    Distribution,
    Flag,
    Namespace,
    Rollout,
    Rule,
    Segment,
    Token,
    Variant,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Verb {
    Created,
    Deleted,
    Updated,
}

const NOUNS: [(&str, Noun); 9] = [
    ("constraint", Noun::Constraint),
    ("distribution", Noun::Distribution),
    ("flag", Noun::Flag),
    ("namespace", Noun::Namespace),
    ("rollout", Noun::Rollout),
    ("rule", Noun::Rule),
    ("segment", Noun::Segment),
    ("token", Noun::Token),
    ("variant", Noun::Variant),
];

const VERBS: [(&str, Verb); 3] =
    [("created", Verb::Created), ("deleted", Verb::Deleted), ("updated", Verb::Updated)];

/// A kind of event.
pub type Event = (Noun, Verb);

/// The events that a text such as `flag:*` selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSelector(Vec<Event>);

impl std::str::FromStr for EventSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (noun, verb) = text.split_once(':').ok_or_else(|| format!("invalid event: {text}"))?;
        let nouns = choose(&NOUNS, noun).ok_or_else(|| format!("invalid noun: {noun}"))?;
        let verbs = choose(&VERBS, verb).ok_or_else(|| format!("invalid verb: {verb}"))?;
        Ok(Self(nouns.iter().flat_map(|noun| verbs.iter().map(|verb| (*noun, *verb))).collect()))
    }
}

fn choose<T: Copy>(known: &[(&str, T)], name: &str) -> Option<Vec<T>> {
    if name == "*" {
        return Some(known.iter().map(|(_, value)| *value).collect());
    }
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| vec![*value])
}

const EVENTS_REMEDY: &str = "<noun>:<verb> with a noun of constraint, distribution, flag, namespace, rollout, \
                             rule, segment, token, variant or *, and a verb of created, deleted, updated or *";

impl Audit {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let log = read_log(reader);
        let webhook = read_webhook(reader);
        let kafka = read_kafka(reader);
        let in_use = log.is_some() || webhook.is_some() || kafka.is_some();
        let (capacity, flush_period) = read_buffer(reader);
        let events = shown_if(reader, in_use, |reader| reader.list("audit.events", &["*:*"]));
        let events = if in_use { select(reader, &events) } else { BTreeSet::new() };
        reader.accept_all("audit.sinks.cloud");
        let sinks = [
            ("audit.sinks.log.enabled", log.is_some()),
            ("audit.sinks.webhook.enabled", webhook.is_some()),
            ("audit.sinks.kafka.enabled", kafka.is_some()),
        ];
        for (key, _) in sinks.into_iter().filter(|(_, is_on)| *is_on) {
            reader.without_effect(key, "no audit events are recorded");
        }
        Self { log, webhook, kafka, capacity, flush_period, events }
    }
}

/// Checked also if no sink is on.
fn read_buffer(reader: &mut Reader<'_>) -> (u32, Duration) {
    let capacity = reader.integer("audit.buffer.capacity", 2);
    if !(2..=10).contains(&capacity) {
        let problem = "buffer capacity below 2 or above 10";
        reader.refuse(Wording::Fixed, "audit.buffer.capacity", problem, "2 to 10");
    }
    let flush_period = reader.span("audit.buffer.flush_period", Duration::from_secs(120));
    if !(120..=300).contains(&flush_period.as_secs()) || flush_period > Duration::from_secs(300) {
        let problem = "flush period below 2 minutes or greater than 5 minutes";
        reader.refuse(Wording::Fixed, "audit.buffer.flush_period", problem, "2m to 5m");
    }
    (u32::try_from(capacity).unwrap_or(2), flush_period)
}

fn select(reader: &mut Reader<'_>, selectors: &[String]) -> BTreeSet<Event> {
    let mut events = BTreeSet::new();
    let mut refuse = |problem: String| reader.refuse(Wording::Bare, "audit.events", problem, EVENTS_REMEDY);
    if selectors.is_empty() {
        refuse("no events selected".to_owned());
    }
    for text in selectors {
        match text.parse::<EventSelector>() {
            Ok(EventSelector(selected)) => {
                if selected.into_iter().any(|event| !events.insert(event)) {
                    refuse(format!("duplicate event pair: {text}"));
                    break;
                }
            }
            Err(problem) => {
                refuse(problem);
                break;
            }
        }
    }
    events
}

fn read_log(reader: &mut Reader<'_>) -> Option<LogSink> {
    let enabled = reader.bool("audit.sinks.log.enabled", false);
    shown_if(reader, enabled, |reader| {
        let file = reader.text("audit.sinks.log.file", "");
        let (encoding, _) = reader.choice(
            "audit.sinks.log.encoding",
            None,
            &[("console", Some(Encoding::Console)), ("json", Some(Encoding::Json)), ("", None)],
        );
        enabled.then(|| LogSink { file: (!file.is_empty()).then(|| file.into()), encoding })
    })
}

fn read_webhook(reader: &mut Reader<'_>) -> Option<Webhook> {
    let enabled = reader.bool("audit.sinks.webhook.enabled", false);
    let templates = reader.is_set("audit.sinks.webhook.templates").is_some();
    reader.accept_all("audit.sinks.webhook.templates");
    shown_if(reader, enabled, |reader| {
        let (url, _) = reader.secret_url("audit.sinks.webhook.url", "");
        let max_backoff = reader.span("audit.sinks.webhook.max_backoff_duration", Duration::from_secs(15));
        let signing_secret = reader.secret("audit.sinks.webhook.signing_secret");
        let problem = match (url.is_empty(), templates) {
            (true, false) => Some("url or template(s) not provided"),
            (false, true) => Some("only one of url or template(s) allowed"),
            _ => None,
        };
        if let (true, Some(problem)) = (enabled, problem) {
            reader.refuse(Wording::Fixed, "audit.sinks.webhook.url", problem, "either url or templates");
        }
        enabled.then_some(Webhook { url, max_backoff, signing_secret })
    })
}

fn read_kafka(reader: &mut Reader<'_>) -> Option<Kafka> {
    let enabled = reader.bool("audit.sinks.kafka.enabled", false);
    reader.accept_all("audit.sinks.kafka.authentication");
    shown_if(reader, enabled, |reader| {
        let topic = reader.text("audit.sinks.kafka.topic", "");
        let bootstrap_servers = reader.list("audit.sinks.kafka.bootstrap_servers", &[]);
        let (encoding, _) = reader.choice(
            "audit.sinks.kafka.encoding",
            KafkaEncoding::Protobuf,
            &[("protobuf", KafkaEncoding::Protobuf), ("avro", KafkaEncoding::Avro)],
        );
        reader.text("audit.sinks.kafka.schema_registry.url", "");
        reader.bool("audit.sinks.kafka.require_tls", false);
        reader.bool("audit.sinks.kafka.insecure_skip_tls", false);
        if enabled && topic.is_empty() {
            let problem = "kafka topic not provided";
            reader.refuse(Wording::Fixed, "audit.sinks.kafka.topic", problem, "the name of a topic");
        } else if enabled && bootstrap_servers.is_empty() {
            reader.refuse(
                Wording::Fixed,
                "audit.sinks.kafka.bootstrap_servers",
                "kafka bootstrap_servers not provided",
                "a list of host:port",
            );
        }
        enabled.then_some(Kafka { topic, bootstrap_servers, encoding })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_expand_and_name_what_is_unknown() {
        let all: EventSelector = "*:*".parse().unwrap();
        assert_eq!(all.0.len(), NOUNS.len() * VERBS.len());
        let flags: EventSelector = "flag:*".parse().unwrap();
        assert_eq!(flags.0.len(), VERBS.len());
        let refused = |text: &str| text.parse::<EventSelector>().unwrap_err();
        assert_eq!(refused("house:created"), "invalid noun: house");
        assert_eq!(refused("flag:painted"), "invalid verb: painted");
        assert_eq!(refused("flag"), "invalid event: flag");
    }
}
