//! Whole namespaces out of a running server, in the order of its lists (api spec, section 6.5).

use flipt_client::{
    Call, CallError, Client,
    call::{GetNamespace, ListFlags, ListNamespaces, ListRollouts, ListRules, ListSegments},
};
use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, MatchType, Namespace, Rollout, RolloutRule,
    Rule, Segment, SegmentOperator, Variant, validation::go_quote,
};
use flipt_proto::{
    flipt::{self as pb, rollout},
    struct_to_json,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{failure::Failure, progress::Progress};

/// Items of a page; what Flipt's own command line asks for.
const PAGE: i32 = 25;

/// Calls under way at a time.
const PARALLEL: usize = 8;

/// A failure with the words in front that say what was being done.
fn while_doing(what: impl std::fmt::Display) -> impl Fn(CallError) -> Failure {
    move |error| Failure::new(format!("{what}: {error}"))
}

/// All items of a list that comes in pages; the request says how long one is.
macro_rules! all_pages {
    ($client:expr, $call:ty, $items:ident, $request:expr) => {{
        let mut items = Vec::new();
        let mut request = $request;
        loop {
            let page = $client.call::<$call>(&request).await?;
            items.extend(page.$items);
            if page.next_page_token.is_empty() {
                break Ok::<_, CallError>(items);
            }
            if page.next_page_token == request.page_token {
                break Err(CallError::Endless { call: <$call as Call>::NAME });
            }
            request.page_token = page.next_page_token;
        }
    }};
}

/// Every namespace, without what is in it.
///
/// # Errors
/// What the server, or the way to it, says.
pub(crate) async fn list(client: &Client) -> Result<Vec<pb::Namespace>, CallError> {
    let request = pb::ListNamespaceRequest { limit: PAGE, ..Default::default() };
    all_pages!(client, ListNamespaces, namespaces, request)
}

/// The flags of a namespace, with their variants.
///
/// # Errors
/// As [`list`].
pub(crate) async fn flags(client: &Client, namespace: &str) -> Result<Vec<pb::Flag>, CallError> {
    let request =
        pb::ListFlagRequest { namespace_key: namespace.to_owned(), limit: PAGE, ..Default::default() };
    all_pages!(client, ListFlags, flags, request)
}

/// The segments of a namespace.
///
/// # Errors
/// As [`list`].
pub(crate) async fn segments(client: &Client, namespace: &str) -> Result<Vec<pb::Segment>, CallError> {
    let request =
        pb::ListSegmentRequest { namespace_key: namespace.to_owned(), limit: PAGE, ..Default::default() };
    all_pages!(client, ListSegments, segments, request)
}

/// Every namespace with everything in it.
///
/// # Errors
/// The texts of the cli spec, section 4.2.
pub(crate) async fn everything(client: &Client, progress: &Progress) -> Result<Vec<Namespace>, Failure> {
    let listed = list(client).await.map_err(while_doing("getting namespaces"))?;
    fill(client, listed, progress).await
}

/// These namespaces with everything in them, in this order.
///
/// # Errors
/// The texts of the cli spec, section 4.2.
pub(crate) async fn selected(
    client: &Client,
    keys: &[&str],
    progress: &Progress,
) -> Result<Vec<Namespace>, Failure> {
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let request = pb::GetNamespaceRequest { key: (*key).to_owned(), ..Default::default() };
        found.push(client.call::<GetNamespace>(&request).await.map_err(while_doing("getting namespaces"))?);
    }
    fill(client, found, progress).await
}

async fn fill(
    client: &Client,
    found: Vec<pb::Namespace>,
    progress: &Progress,
) -> Result<Vec<Namespace>, Failure> {
    let mut namespaces = Vec::with_capacity(found.len());
    for about in found {
        let flags = flags(client, &about.key).await.map_err(while_doing("getting flags"))?;
        progress.expect(flags.len());
        let flags = stream::iter(flags)
            .map(|flag| async {
                let flag = self::flag(client, &about.key, flag).await;
                progress.step();
                flag
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let segments = segments(client, &about.key).await.map_err(while_doing("getting segments"))?;
        namespaces.push(Namespace {
            key: about.key,
            name: about.name,
            description: about.description,
            flags,
            segments: segments.into_iter().map(segment).collect(),
        });
    }
    Ok(namespaces)
}

/// A flag with its rules and rollouts.
async fn flag(client: &Client, namespace: &str, flag: pb::Flag) -> Result<Flag, Failure> {
    let (namespace_key, flag_key) = (namespace.to_owned(), flag.key.clone());
    let rules = pb::ListRuleRequest { namespace_key, flag_key, ..Default::default() };
    let (namespace_key, flag_key) = (namespace.to_owned(), flag.key.clone());
    let rollouts = pb::ListRolloutRequest { namespace_key, flag_key, ..Default::default() };
    let rules = client
        .call::<ListRules>(&rules)
        .await
        .map_err(while_doing(format!("getting rules for flag {}", go_quote(&flag.key))))?;
    let rollouts = client
        .call::<ListRollouts>(&rollouts)
        .await
        .map_err(while_doing(format!("getting rollout rules for flag {}", go_quote(&flag.key))))?;
    Ok(Flag {
        rules: rules.rules.into_iter().map(|rule| self::rule(rule, &flag)).collect(),
        rollouts: rollouts.rules.into_iter().map(self::rollout).collect(),
        flag_type: FlagType::from_number(flag.r#type),
        metadata: flag
            .metadata
            .map(|metadata| struct_to_json(&metadata).into_iter().collect())
            .unwrap_or_default(),
        default_variant: flag.default_variant.map(|variant| variant.key),
        variants: flag.variants.into_iter().map(variant).collect(),
        key: flag.key,
        name: flag.name,
        description: flag.description,
        enabled: flag.enabled,
    })
}

fn variant(variant: pb::Variant) -> Variant {
    Variant {
        key: variant.key,
        name: variant.name,
        description: variant.description,
        attachment: variant.attachment,
    }
}

/// One segment comes in the singular field, several in the plural one.
fn keys(single: String, several: Vec<String>) -> Vec<String> {
    if single.is_empty() { several } else { vec![single] }
}

#[allow(deprecated)]
fn rule(rule: pb::Rule, flag: &pb::Flag) -> Rule {
    let distributions = rule.distributions.into_iter().filter_map(|distribution| {
        let variant = flag.variants.iter().find(|variant| variant.id == distribution.variant_id);
        if variant.is_none() {
            tracing::warn!(flag = flag.key, rule = rule.id, "distribution of an unknown variant left out");
        }
        Some(Distribution { variant: variant?.key.clone(), rollout: distribution.rollout })
    });
    Rule {
        rank: rule.rank,
        distributions: distributions.collect(),
        segments: keys(rule.segment_key, rule.segment_keys),
        operator: SegmentOperator::from_number(rule.segment_operator),
    }
}

#[allow(deprecated)]
fn rollout(rollout: pb::Rollout) -> Rollout {
    let rule = match rollout.rule {
        None => RolloutRule::None,
        Some(rollout::Rule::Threshold(threshold)) => {
            RolloutRule::Threshold { percentage: threshold.percentage, value: threshold.value }
        }
        Some(rollout::Rule::Segment(segment)) => RolloutRule::Segment {
            segments: keys(segment.segment_key, segment.segment_keys),
            operator: SegmentOperator::from_number(segment.segment_operator),
            value: segment.value,
        },
    };
    Rollout { rank: rollout.rank, description: rollout.description, rule }
}

fn segment(segment: pb::Segment) -> Segment {
    Segment {
        key: segment.key,
        name: segment.name,
        description: segment.description,
        match_type: MatchType::from_number(segment.match_type),
        constraints: segment
            .constraints
            .into_iter()
            .map(|constraint| Constraint {
                constraint_type: ConstraintType::from_number(constraint.r#type),
                property: constraint.property,
                operator: constraint.operator,
                value: constraint.value,
                description: constraint.description,
            })
            .collect(),
    }
}
