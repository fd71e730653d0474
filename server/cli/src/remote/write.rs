//! Whole namespaces into a running server: call by call, and taken back if one of them fails.

use std::collections::{BTreeSet, HashMap};

use flipt_client::{
    Call, CallError, Client,
    call::{
        CreateConstraint, CreateDistribution, CreateFlag, CreateNamespace, CreateRollout, CreateRule,
        CreateSegment, CreateVariant, DeleteFlag, DeleteNamespace, DeleteSegment, GetNamespace, UpdateFlag,
    },
};
use flipt_model::{DEFAULT_NAMESPACE, Flag, Namespace, RolloutRule, Segment};
use flipt_proto::{
    flipt::{self as pb, create_rollout_request},
    json_to_struct,
};
use flipt_store::ImportedNamespace;

use super::{interruption::Interruption, read};
use crate::{failure::Failure, progress::Progress};

/// Creates everything in these namespaces.
///
/// # Expected flow
/// 1. Per namespace: it is looked up, and created if it is missing and may be.
/// 2. Flags with their variants, then segments with their constraints, then rules and rollouts flag by flag.
///
/// # Guarantees
/// If a call fails, or on SIGINT, the flags, segments and namespaces that were created are removed again; what
/// existed before is not touched. What cannot be removed is named in the log.
///
/// # Caveats
/// Others see the import while it is under way. What a call without an answer has created is not known, and
/// stays.
///
/// # Errors
/// The texts of the cli spec, section 5.3.
pub(crate) async fn import(
    client: &Client,
    namespaces: &[ImportedNamespace],
    skip_existing: bool,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let mut writer = Writer { client, context, created: Vec::new() };
    let written = writer.namespaces(namespaces, skip_existing).await;
    if written.is_err() {
        writer.undo().await;
    }
    written
}

/// The same, without taking anything back.
///
/// # Errors
/// As [`import`].
pub(crate) async fn create(
    client: &Client,
    namespaces: &[ImportedNamespace],
    context: &Context<'_>,
) -> Result<(), Failure> {
    Writer { client, context, created: Vec::new() }.namespaces(namespaces, false).await
}

/// What a person at the terminal sees and says.
pub(crate) struct Context<'a> {
    /// How far it has come.
    pub(crate) progress: &'a Progress,
    /// Whether to stop.
    pub(crate) interruption: &'a Interruption,
}

/// Something that was created, and can be removed.
enum Created {
    Namespace(String),
    Flag(String, String),
    Segment(String, String),
}

struct Writer<'a> {
    client: &'a Client,
    context: &'a Context<'a>,
    created: Vec<Created>,
}

/// What is being done, as errors name it.
type Doing = &'static str;

impl Writer<'_> {
    async fn namespaces(
        &mut self,
        namespaces: &[ImportedNamespace],
        skip_existing: bool,
    ) -> Result<(), Failure> {
        for namespace in namespaces {
            self.namespace(&namespace.content, namespace.create, skip_existing).await?;
        }
        Ok(())
    }

    async fn call<C: Call>(&self, doing: Doing, request: &C::Request) -> Result<C::Answer, Failure> {
        self.context.interruption.check()?;
        self.client.call::<C>(request).await.map_err(|error| Failure::new(format!("{doing}{error}")))
    }

    async fn namespace(
        &mut self,
        namespace: &Namespace,
        create: bool,
        skip_existing: bool,
    ) -> Result<(), Failure> {
        self.require_namespace(namespace, create).await?;
        let key = namespace.key.as_str();
        let (known_flags, known_segments) =
            if skip_existing { self.existing(key).await? } else { Default::default() };
        let flags: Vec<&Flag> =
            namespace.flags.iter().filter(|flag| !known_flags.contains(&flag.key)).collect();
        let segments: Vec<&Segment> =
            namespace.segments.iter().filter(|segment| !known_segments.contains(&segment.key)).collect();
        self.context.progress.expect(2 * flags.len() + segments.len());
        let mut written = Vec::with_capacity(flags.len());
        for flag in flags {
            written.push((flag, self.flag(key, flag).await?));
            self.context.progress.step();
        }
        for segment in segments {
            self.segment(key, segment).await?;
            self.context.progress.step();
        }
        for (flag, variants) in written {
            self.rules(key, flag, &variants).await?;
            self.rollouts(key, flag).await?;
            self.context.progress.step();
        }
        Ok(())
    }

    async fn require_namespace(&mut self, namespace: &Namespace, create: bool) -> Result<(), Failure> {
        let key = namespace.key.clone();
        if key == DEFAULT_NAMESPACE {
            return Ok(());
        }
        let request = pb::GetNamespaceRequest { key: key.clone(), ..Default::default() };
        match self.client.call::<GetNamespace>(&request).await {
            Ok(_) => Ok(()),
            Err(error) if create && error.is_not_found() => {
                let request = pb::CreateNamespaceRequest {
                    key: key.clone(),
                    name: namespace.name.clone(),
                    description: namespace.description.clone(),
                };
                self.call::<CreateNamespace>("", &request).await?;
                self.created.push(Created::Namespace(key));
                Ok(())
            }
            Err(error) => Err(Failure::new(error)),
        }
    }

    /// Keys of the flags, and of the segments, that are there.
    async fn existing(&self, namespace: &str) -> Result<(BTreeSet<String>, BTreeSet<String>), Failure> {
        let failed = |what: Doing| move |error: CallError| Failure::new(format!("{what}{error}"));
        let flags = read::flags(self.client, namespace).await.map_err(failed("listing flags: "))?;
        let segments = read::segments(self.client, namespace).await.map_err(failed("listing segments: "))?;
        Ok((
            flags.into_iter().map(|flag| flag.key).collect(),
            segments.into_iter().map(|segment| segment.key).collect(),
        ))
    }

    /// Creates a flag with its variants, and gives the variants' ids by key.
    async fn flag(&mut self, namespace: &str, flag: &Flag) -> Result<HashMap<String, String>, Failure> {
        let request = pb::CreateFlagRequest {
            namespace_key: namespace.to_owned(),
            key: flag.key.clone(),
            name: flag.name.clone(),
            description: flag.description.clone(),
            enabled: flag.enabled,
            r#type: flag.flag_type.number(),
            metadata: (!flag.metadata.is_empty()).then(|| json_to_struct(&flag.metadata)),
        };
        self.call::<CreateFlag>("creating flag: ", &request).await?;
        self.created.push(Created::Flag(namespace.to_owned(), flag.key.clone()));
        let mut ids = HashMap::new();
        for variant in &flag.variants {
            let request = pb::CreateVariantRequest {
                namespace_key: namespace.to_owned(),
                flag_key: flag.key.clone(),
                key: variant.key.clone(),
                name: variant.name.clone(),
                description: variant.description.clone(),
                attachment: variant.attachment.clone(),
            };
            let created = self.call::<CreateVariant>("creating variant: ", &request).await?;
            ids.insert(variant.key.clone(), created.id);
        }
        if let Some(id) = flag.default_variant.as_ref().and_then(|key| ids.get(key)) {
            let request = pb::UpdateFlagRequest {
                namespace_key: namespace.to_owned(),
                key: flag.key.clone(),
                name: flag.name.clone(),
                description: flag.description.clone(),
                enabled: flag.enabled,
                default_variant_id: id.clone(),
                ..Default::default()
            };
            self.call::<UpdateFlag>("updating flag: ", &request).await?;
        }
        Ok(ids)
    }

    async fn segment(&mut self, namespace: &str, segment: &Segment) -> Result<(), Failure> {
        let request = pb::CreateSegmentRequest {
            namespace_key: namespace.to_owned(),
            key: segment.key.clone(),
            name: segment.name.clone(),
            description: segment.description.clone(),
            match_type: segment.match_type.number(),
        };
        self.call::<CreateSegment>("creating segment: ", &request).await?;
        self.created.push(Created::Segment(namespace.to_owned(), segment.key.clone()));
        for constraint in &segment.constraints {
            let request = pb::CreateConstraintRequest {
                namespace_key: namespace.to_owned(),
                segment_key: segment.key.clone(),
                r#type: constraint.constraint_type.number(),
                property: constraint.property.clone(),
                operator: constraint.operator.clone(),
                value: constraint.value.clone(),
                description: constraint.description.clone(),
            };
            self.call::<CreateConstraint>("creating constraint: ", &request).await?;
        }
        Ok(())
    }

    async fn rules(
        &self,
        namespace: &str,
        flag: &Flag,
        variants: &HashMap<String, String>,
    ) -> Result<(), Failure> {
        for rule in &flag.rules {
            #[allow(deprecated)]
            let mut request = pb::CreateRuleRequest {
                namespace_key: namespace.to_owned(),
                flag_key: flag.key.clone(),
                rank: rule.rank,
                segment_operator: rule.operator.number(),
                ..Default::default()
            };
            #[allow(deprecated)]
            name_segments(&rule.segments, &mut request.segment_key, &mut request.segment_keys);
            let created = self.call::<CreateRule>("creating rule: ", &request).await?;
            for distribution in &rule.distributions {
                let variant = variants.get(&distribution.variant).ok_or_else(|| {
                    Failure::new(format!("finding variant: {}; flag: {}", distribution.variant, flag.key))
                })?;
                let request = pb::CreateDistributionRequest {
                    namespace_key: namespace.to_owned(),
                    flag_key: flag.key.clone(),
                    rule_id: created.id.clone(),
                    variant_id: variant.clone(),
                    rollout: distribution.rollout,
                };
                self.call::<CreateDistribution>("creating distribution: ", &request).await?;
            }
        }
        Ok(())
    }

    async fn rollouts(&self, namespace: &str, flag: &Flag) -> Result<(), Failure> {
        for rollout in &flag.rollouts {
            let rule = match &rollout.rule {
                RolloutRule::None => None,
                RolloutRule::Threshold { percentage, value } => {
                    Some(create_rollout_request::Rule::Threshold(pb::RolloutThreshold {
                        percentage: *percentage,
                        value: *value,
                    }))
                }
                RolloutRule::Segment { segments, operator, value } => {
                    let mut segment = pb::RolloutSegment {
                        segment_operator: operator.number(),
                        value: *value,
                        ..Default::default()
                    };
                    #[allow(deprecated)]
                    name_segments(segments, &mut segment.segment_key, &mut segment.segment_keys);
                    Some(create_rollout_request::Rule::Segment(segment))
                }
            };
            let request = pb::CreateRolloutRequest {
                namespace_key: namespace.to_owned(),
                flag_key: flag.key.clone(),
                rank: rollout.rank,
                description: rollout.description.clone(),
                rule,
            };
            self.call::<CreateRollout>("creating rollout: ", &request).await?;
        }
        Ok(())
    }

    /// Removes what was created, the users before the used.
    async fn undo(&self) {
        if self.created.is_empty() {
            return;
        }
        let mut left = Vec::new();
        let place = |created: &Created| match created {
            Created::Flag(..) => 0,
            Created::Segment(..) => 1,
            Created::Namespace(..) => 2,
        };
        let mut created: Vec<&Created> = self.created.iter().rev().collect();
        created.sort_by_key(|created| place(created));
        for created in created {
            let (what, removed) = match created {
                Created::Flag(namespace, key) => {
                    let (namespace_key, key) = (namespace.clone(), key.clone());
                    let what = format!("flag {namespace_key}/{key}");
                    (
                        what,
                        self.client.call::<DeleteFlag>(&pb::DeleteFlagRequest { key, namespace_key }).await,
                    )
                }
                Created::Segment(namespace, key) => {
                    let (namespace_key, key) = (namespace.clone(), key.clone());
                    let what = format!("segment {namespace_key}/{key}");
                    let request = pb::DeleteSegmentRequest { key, namespace_key };
                    (what, self.client.call::<DeleteSegment>(&request).await)
                }
                Created::Namespace(key) => {
                    // Not by force: others may have put something into it meanwhile.
                    let request = pb::DeleteNamespaceRequest { key: key.clone(), ..Default::default() };
                    (format!("namespace {key}"), self.client.call::<DeleteNamespace>(&request).await)
                }
            };
            if let Err(error) = removed {
                tracing::error!(what, error = %error, "created by the failed import and not removed");
                left.push(what);
            }
        }
        if left.is_empty() {
            tracing::info!(count = self.created.len(), "what the failed import had created was removed");
        }
    }
}

/// One segment goes into the singular field, several into the plural one.
fn name_segments(keys: &[String], single: &mut String, several: &mut Vec<String>) {
    match keys {
        [key] => single.clone_from(key),
        keys => *several = keys.to_vec(),
    }
}
