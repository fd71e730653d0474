//! Promise: the server decides as Flipt's own engines do on the server's snapshot, and alike over OFREP, for ten
//! thousand random flags, entities and contexts.
//!
//! Flipt's engines differ from a Flipt v1 server in ways that are known (evaluation spec, section 14). Triples
//! that one of those concerns are not compared with engines: exactly those, counted by reason, and drawn in
//! addition to the ten thousand. `FLIPT_TEST_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use flipt_e2e::{Cli, Client, Server, ServerOptions, http};
use serde_json::{Map, Value, json};

/// Triples to compare with every engine.
const COUNT: usize = 10_000;
/// Entries of a batch.
const BATCH: usize = 1_000;
/// Differences that are shown.
const SHOWN: usize = 20;

const DOCUMENTS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/evaluations/document.yaml"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo.yaml"),
];
const NAMESPACES: [&str; 2] = ["default", "mobile"];

/// Numbers that look random and repeat with their seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True so many times out of a hundred.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A constraint as the snapshot has it.
#[derive(Debug, Clone)]
struct Constraint {
    kind: String,
    property: String,
    operator: String,
    value: String,
}

impl Constraint {
    fn is_on_entity(&self) -> bool {
        self.kind.starts_with("ENTITY_ID")
    }
}

/// What of a flag matters here.
#[derive(Debug, Clone)]
struct Flag {
    namespace: &'static str,
    key: String,
    is_boolean: bool,
    /// Whether it is a boolean flag that is off, and no rollout can switch on.
    is_off: bool,
    constraints: Vec<Constraint>,
    /// Rollouts of the distributions of each rule, in percent.
    distributions: Vec<Vec<f32>>,
}

impl Flag {
    fn of(namespace: &'static str, flag: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let rules = list(&flag["rules"]);
        let holders =
            rules.iter().cloned().chain(list(&flag["rollouts"]).into_iter().map(|r| r["segment"].clone()));
        let constraints = holders
            .flat_map(|holder| list(&holder["segments"]))
            .flat_map(|segment| list(&segment["constraints"]))
            .map(|constraint| Constraint {
                kind: text(&constraint["type"]),
                property: text(&constraint["property"]),
                operator: text(&constraint["operator"]),
                value: text(&constraint["value"]),
            })
            .collect();
        #[allow(clippy::cast_possible_truncation)]
        let rollout = |distribution: &Value| distribution["rollout"].as_f64().unwrap() as f32;
        Self {
            namespace,
            key: text(&flag["key"]),
            is_boolean: flag["type"] == "BOOLEAN_FLAG_TYPE",
            is_off: flag["type"] == "BOOLEAN_FLAG_TYPE"
                && flag["enabled"] == false
                && list(&flag["rollouts"]).is_empty(),
            constraints,
            distributions: rules
                .iter()
                .map(|rule| list(&rule["distributions"]).iter().map(rollout).collect())
                .collect(),
        }
    }
}

/// A question.
#[derive(Debug, Clone)]
struct Triple {
    flag: Flag,
    entity: String,
    context: BTreeMap<String, String>,
}

/// Values that any property may have, whatever its constraints expect.
const ODD: [&str; 22] = [
    "",
    " ",
    "pro",
    " pro ",
    "free",
    "team",
    "premium",
    "0",
    "18",
    "18.0",
    "1e1",
    "-3",
    "+18",
    "1_8",
    "true",
    "false",
    "T",
    "yes",
    "2024-02-29",
    "2024-02-29T12:00:00Z",
    "2024-02-29T12:00:00.5+01:00",
    "not a value",
];

impl Triple {
    fn draw(random: &mut Random, flags: &[Flag]) -> Self {
        let flag = random.pick(flags).clone();
        let on_entity: Vec<&Constraint> = flag.constraints.iter().filter(|c| c.is_on_entity()).collect();
        // Engines refuse blank entities before they evaluate.
        let entity = match random.below(10) {
            0..=2 if !on_entity.is_empty() => {
                let constraint = (*random.pick(&on_entity)).clone();
                near(random, constraint)
            }
            3 => format!("{}@example.com", random.below(1_000)),
            4 => format!("Grüße-{}-日本", random.below(1_000)),
            _ => format!("user-{}", random.below(5_000)),
        };
        let entity = if entity.trim().is_empty() { "someone".to_owned() } else { entity };
        let mut properties: BTreeMap<&str, Vec<&Constraint>> = BTreeMap::new();
        for constraint in flag.constraints.iter().filter(|constraint| !constraint.is_on_entity()) {
            properties.entry(&constraint.property).or_default().push(constraint);
        }
        let mut context = BTreeMap::new();
        for (property, constraints) in properties {
            if random.percent(15) {
                continue;
            }
            let value = if random.percent(20) {
                (*random.pick(&ODD)).to_owned()
            } else {
                let constraint = (*random.pick(&constraints)).clone();
                near(random, constraint)
            };
            context.insert(property.to_owned(), value);
        }
        if random.percent(10) {
            context.insert("unasked".to_owned(), "anything".to_owned());
        }
        Self { flag, entity, context }
    }

    fn to_json(&self) -> Value {
        json!({
            "namespace": self.flag.namespace,
            "flag": self.flag.key,
            "type": if self.flag.is_boolean { "boolean" } else { "variant" },
            "entity": self.entity,
            "context": self.context,
        })
    }

    /// The value that a constraint looks at.
    fn value(&self, constraint: &Constraint) -> &str {
        if constraint.is_on_entity() {
            &self.entity
        } else {
            self.context.get(&constraint.property).map_or("", String::as_str)
        }
    }

    /// Why engines may decide otherwise, if they may.
    fn known_difference(&self) -> Option<&'static str> {
        let buckets = self.flag.distributions.iter().find(|rollouts| {
            server_choice(rollouts, &self.flag.key, &self.entity)
                != engine_choice(rollouts, &self.flag.key, &self.entity)
        });
        if buckets.is_some() {
            return Some("14.1: distributions scaled to 100 % and rounded");
        }
        self.flag
            .constraints
            .iter()
            .find_map(|constraint| known_difference(constraint, self.value(constraint)))
    }
}

/// A value at, or close to, what a constraint compares with.
fn near(random: &mut Random, constraint: Constraint) -> String {
    let value = match serde_json::from_str::<Vec<Value>>(&constraint.value) {
        Ok(items) if !items.is_empty() => match random.pick(&items) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        _ => constraint.value.clone(),
    };
    if constraint.kind.starts_with("NUMBER") {
        let number = value.parse::<f64>().unwrap_or(20.0);
        #[allow(clippy::cast_possible_truncation)]
        return format!("{}", number.trunc() as i64 + i64::try_from(random.below(5)).unwrap() - 2);
    }
    if constraint.kind.starts_with("BOOLEAN") {
        return (*random.pick(&["true", "false"])).to_owned();
    }
    if constraint.kind.starts_with("DATETIME") && random.percent(70) {
        let (month, day) = (1 + random.below(3), 1 + random.below(28));
        let zone = random.pick(&["Z", "+00:00", "+02:00", "-05:30"]);
        return format!("2024-{month:02}-{day:02}T{:02}:00:00{zone}", random.below(24));
    }
    match random.below(6) {
        0 => format!("{value}{}", random.below(10)),
        1 => format!("x{value}"),
        2 => value.to_uppercase(),
        _ => value,
    }
}

fn bucket(flag: &str, entity: &str) -> u32 {
    crc32fast::hash(format!("{flag}{entity}").as_bytes()) % 1000
}

/// Position of the distribution that a v1 server chooses (evaluation spec, section 3.2).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn server_choice(rollouts: &[f32], flag: &str, entity: &str) -> Option<usize> {
    let mut end = 0;
    rollouts.iter().filter(|rollout| **rollout > 0.0).position(|rollout| {
        end += (rollout * 10.0).trunc() as u32;
        end > bucket(flag, entity)
    })
}

/// Position of the distribution that today's engines choose (evaluation spec, section 14.1).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn engine_choice(rollouts: &[f32], flag: &str, entity: &str) -> Option<usize> {
    let effective: Vec<f32> = rollouts.iter().copied().filter(|rollout| *rollout > 0.0).collect();
    let total: f32 = effective.iter().sum();
    let mut share = 0.0_f32;
    let last = effective.len().checked_sub(1)?;
    effective.iter().enumerate().position(|(index, rollout)| {
        share += rollout / total * 100.0;
        let end = if index == last { 1000 } else { (share * 10.0).round() as u32 };
        end > bucket(flag, entity)
    })
}

/// Why engines may see a value otherwise under a constraint (evaluation spec, section 14.2).
fn known_difference(constraint: &Constraint, value: &str) -> Option<&'static str> {
    let wanted = constraint.value.as_str();
    let trimmed = value.trim();
    let differs = match constraint.operator.as_str() {
        "empty" | "notempty" | "present" | "notpresent" => trimmed.is_empty() != value.is_empty(),
        "prefix" => trimmed.starts_with(wanted) != value.starts_with(wanted),
        "suffix" => trimmed.ends_with(wanted) != value.ends_with(wanted),
        _ => false,
    };
    if differs {
        return Some("14.2: white space around values is not trimmed");
    }
    if value.is_empty() || matches!(constraint.operator.as_str(), "present" | "notpresent") {
        return None;
    }
    let is_list = matches!(constraint.operator.as_str(), "isoneof" | "isnotoneof");
    let kind = constraint.kind.split('_').next().unwrap_or_default();
    match kind {
        "STRING" | "ENTITY" if is_list => {
            let is_plain = serde_json::from_str::<Vec<String>>(wanted).is_ok() && !wanted.contains('\\');
            (!is_plain).then_some("14.2: lists of texts that are not valid, or have escapes")
        }
        "NUMBER" => {
            let is_whole = |text: &str| text.parse::<i32>().is_ok();
            let wants_whole =
                if is_list { serde_json::from_str::<Vec<i32>>(wanted).is_ok() } else { is_whole(wanted) };
            let is_number = value.parse::<f64>().is_ok() || value.contains('_') || value.contains(['x', 'X']);
            (is_number && !(is_whole(value) && wants_whole)).then_some("14.2: numbers are whole, of 32 bits")
        }
        "BOOLEAN" => {
            let spellings = ["1", "t", "T", "TRUE", "True", "0", "f", "F", "FALSE", "False"];
            spellings.contains(&value).then_some("14.2: booleans are only true and false")
        }
        "DATETIME" => {
            let differs = looks_like_date(value) && !(is_plain_time(value) && is_plain_time(wanted));
            differs.then_some("14.2: times are RFC 3339 with whole seconds")
        }
        _ => None,
    }
}

fn looks_like_date(text: &str) -> bool {
    text.len() >= 10
        && text.bytes().zip(b"dddd-dd-dd").all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// Whether a text is `2006-01-02T15:04:05` with `Z` or an offset, and nothing else.
fn is_plain_time(text: &str) -> bool {
    let Some((time, zone)) = text.split_at_checked(19) else { return false };
    let fits = |text: &str, form: &[u8]| {
        text.len() == form.len()
            && text.bytes().zip(form).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                b's' => matches!(byte, b'+' | b'-'),
                other => byte == *other,
            })
    };
    fits(time, b"dddd-dd-ddTdd:dd:dd") && (zone == "Z" || fits(zone, b"sdd:dd"))
}

async fn flags(server: &Server) -> Vec<Flag> {
    let mut flags = Vec::new();
    for namespace in NAMESPACES {
        let path = format!("/internal/v1/evaluation/snapshot/namespace/{namespace}");
        let asking =
            http::request("GET", server.url(&path)).header("x-flipt-accept-server-version", "1.47.0");
        let snapshot = asking.send().await.unwrap().ok().unwrap();
        flags.extend(snapshot["flags"].as_array().unwrap().iter().map(|flag| Flag::of(namespace, flag)));
    }
    flags
}

/// What the server decides, in the words of its evaluation API.
async fn server_decisions(server: &Server, triples: &[Triple]) -> Vec<Value> {
    let mut decisions = Vec::new();
    for part in triples.chunks(BATCH) {
        let requests: Vec<Value> = part
            .iter()
            .map(|triple| {
                json!({
                    "namespaceKey": triple.flag.namespace,
                    "flagKey": triple.flag.key,
                    "entityId": triple.entity,
                    "context": triple.context,
                })
            })
            .collect();
        let answer =
            server.change("POST", "/evaluate/v1/batch", json!({ "requests": requests })).await.unwrap();
        for response in answer["responses"].as_array().unwrap() {
            let response = response.as_object().unwrap();
            decisions.push(response[which(response)].clone());
        }
    }
    decisions
}

/// The member of a batch's entry that holds the decision.
fn which(response: &Map<String, Value>) -> &'static str {
    if response.contains_key("booleanResponse") { "booleanResponse" } else { "variantResponse" }
}

/// A decision of the server as an engine tells it.
fn as_engine(decision: &Value) -> Value {
    match decision.get("enabled") {
        Some(enabled) => json!({ "enabled": enabled, "reason": decision["reason"] }),
        None => json!({
            "match": decision["match"],
            "variant": decision["variantKey"],
            "attachment": decision["variantAttachment"],
            "reason": decision["reason"],
        }),
    }
}

/// The answers of the native engine, with the reason that it alone gives for boolean flags that are off and have
/// no rollouts replaced by that of the server and of the engine for JavaScript; and how often it gave it. The
/// decision is the same; "FLAG_DISABLED is never returned for boolean flags" (api spec, section 9.3).
fn without_disabled_booleans(triples: &[Triple], answers: Vec<Value>) -> (Vec<Value>, usize) {
    let own = json!({ "enabled": false, "reason": "FLAG_DISABLED_EVALUATION_REASON" });
    let mut count = 0;
    let replaced = answers.into_iter().zip(triples).map(|(answer, triple)| {
        if !triple.flag.is_off || answer != own {
            return answer;
        }
        count += 1;
        json!({ "enabled": false, "reason": "DEFAULT_EVALUATION_REASON" })
    });
    (replaced.collect(), count)
}

/// A decision of the server as OFREP tells it (api spec, section 7.1).
fn as_ofrep(decision: &Value) -> Value {
    let reason = match decision["reason"].as_str().unwrap() {
        "FLAG_DISABLED_EVALUATION_REASON" => "DISABLED",
        "MATCH_EVALUATION_REASON" => "TARGETING_MATCH",
        "DEFAULT_EVALUATION_REASON" => "DEFAULT",
        _ => "UNKNOWN",
    };
    if let Some(enabled) = decision["enabled"].as_bool() {
        return json!({ "value": enabled, "variant": enabled.to_string(), "reason": reason, "metadata": {} });
    }
    let mut metadata = Map::new();
    let segments: Vec<&str> =
        decision["segmentKeys"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    if !segments.is_empty() {
        metadata.insert("segments".to_owned(), segments.join(",").into());
    }
    if decision["variantAttachment"] != "" {
        metadata.insert("attachment".to_owned(), decision["variantAttachment"].clone());
    }
    let variant = &decision["variantKey"];
    json!({ "value": variant, "variant": variant, "reason": reason, "metadata": metadata })
}

/// Numbers in the order of the triples that differ, which are printed.
fn differences(who: &str, triples: &[Triple], expected: &[Value], got: &[Value]) -> Vec<usize> {
    assert_eq!(got.len(), triples.len(), "{who} answered {} of {} questions", got.len(), triples.len());
    let differing: Vec<usize> = (0..triples.len()).filter(|index| expected[*index] != got[*index]).collect();
    for index in differing.iter().take(SHOWN) {
        println!(
            "{who}: {}\n  server {}\n  {who} {}",
            triples[*index].to_json(),
            expected[*index],
            got[*index]
        );
    }
    differing
}

#[tokio::test]
async fn ten_thousand_random_triples_are_decided_alike_by_independent_engines() {
    let seed = match std::env::var("FLIPT_TEST_SEED") {
        Ok(seed) => seed.parse().expect("FLIPT_TEST_SEED is a whole number"),
        Err(_) => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap(),
    };
    println!("FLIPT_TEST_SEED={seed} repeats this run");
    let start = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    for document in DOCUMENTS {
        Cli::new(folder.path()).unwrap().run(&["import", document]).unwrap().success().unwrap();
    }
    let server = Server::start(ServerOptions::new().in_folder(folder.path())).await.unwrap();
    let flags = flags(&server).await;
    assert!(flags.len() > 200, "only {} flags", flags.len());

    let mut random = Random(seed);
    let (mut compared, mut excluded) = (Vec::new(), Vec::new());
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    while compared.len() < COUNT {
        let triple = Triple::draw(&mut random, &flags);
        match triple.known_difference() {
            None => compared.push(triple),
            Some(reason) => {
                *reasons.entry(reason).or_default() += 1;
                excluded.push(triple);
            }
        }
    }
    let lines = |triples: &[Triple]| {
        triples.iter().map(|triple| format!("{}\n", triple.to_json())).collect::<String>()
    };
    let ask = |client: Client, triples: &[Triple]| {
        client.with("FLIPT_URL", &server.url("")).input(lines(triples)).lines()
    };

    let decisions = server_decisions(&server, &compared).await;
    let engine: Vec<Value> = decisions.iter().map(as_engine).collect();
    let ofrep: Vec<Value> = decisions.iter().map(as_ofrep).collect();
    let matched = engine.iter().filter(|decision| decision["reason"] == "MATCH_EVALUATION_REASON").count();
    let js = ask(Client::node("decisions").argument("engine"), &compared).await.unwrap();
    let native = ask(Client::python("decisions"), &compared).await.unwrap();
    let (native, off) = without_disabled_booleans(&compared, native);
    let provider = ask(Client::node("decisions").argument("ofrep"), &compared).await.unwrap();

    // Those left out are put to engines as well, to show that they had to be.
    let left_out = server_decisions(&server, &excluded).await;
    let others = ask(Client::node("decisions").argument("engine"), &excluded).await.unwrap();
    let otherwise = left_out.iter().zip(&others).filter(|(ours, theirs)| as_engine(ours) != **theirs).count();
    // OFREP is the server's own; there is nothing to leave out.
    let provided = ask(Client::node("decisions").argument("ofrep"), &excluded).await.unwrap();
    let expected: Vec<Value> = left_out.iter().map(as_ofrep).collect();
    let over_ofrep = differences("the OFREP provider", &excluded, &expected, &provided).len();

    println!(
        "{COUNT} triples over {} flags, {matched} of them with a match, in {:?}",
        flags.len(),
        start.elapsed()
    );
    println!("left out, {} more, of which {otherwise} are decided otherwise:", excluded.len());
    for (reason, count) in &reasons {
        println!("  {count:5}  evaluation spec, section {reason}");
    }
    println!(
        "{off} answers of the native engine call a boolean flag disabled that is off, api spec, section 9.3"
    );
    assert_eq!(compared.len(), COUNT);
    assert!((COUNT / 10..COUNT * 9 / 10).contains(&matched), "{matched} matches tell little");
    let differing = [
        ("flipt-client-js", &engine, &js),
        ("flipt-client for Python", &engine, &native),
        ("the OFREP provider", &ofrep, &provider),
    ]
    .map(|(who, expected, got)| (who, differences(who, &compared, expected, got).len()));
    assert_eq!(over_ofrep, 0, "of those left out, decided otherwise over OFREP");
    assert_eq!(differing.map(|(_, count)| count), [0, 0, 0], "decided otherwise: {differing:?}");
}
