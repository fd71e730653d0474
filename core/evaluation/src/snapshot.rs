//! The state of all flags at one moment, ready to be evaluated.

use std::sync::Arc;

use crate::boolean::BooleanResult;
use crate::bucket;
use crate::context::Context;
use crate::error::EvaluationError;
use crate::flag::Flag;
use crate::keyed::Keyed;
use crate::namespace::Namespace;
use crate::request::Request;
use crate::variant::VariantResult;

/// All namespaces, compiled. Cheap to clone, and to copy with one namespace changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    namespaces: Keyed<Namespace>,
    ignores_letter_case: bool,
}

impl Snapshot {
    /// Compiles every namespace. Of several with the same key the last one counts.
    #[must_use]
    pub fn compile(source: &flipt_model::Snapshot) -> Self {
        Self {
            namespaces: Keyed::new(source.namespaces.iter().map(Namespace::compile)),
            ignores_letter_case: false,
        }
    }

    /// The same, in which keys of namespaces and flags are found in any letter case when no key is exactly the
    /// one asked for. Flipt on MySQL is like that: it looks keys up by a collation, and hashes the request's spelling (evaluation spec,
    /// section 3.1).
    #[must_use]
    pub fn ignoring_letter_case(self) -> Self {
        Self { ignores_letter_case: true, ..self }
    }

    /// The namespace with this key; the caller resolves the empty key to the default namespace.
    #[must_use]
    pub fn namespace(&self, key: &str) -> Option<&Arc<Namespace>> {
        let found = self.namespaces.get(key);
        if found.is_none() && self.ignores_letter_case {
            return self.namespaces.iter().find(|namespace| namespace.key().eq_ignore_ascii_case(key));
        }
        found
    }

    /// A copy in which this namespace replaces the one with its key, or stands at the end.
    #[must_use]
    pub fn with_namespace(&self, namespace: Namespace) -> Self {
        Self { namespaces: self.namespaces.with(Arc::new(namespace)), ..self.clone() }
    }

    /// A copy without the namespace of this key.
    #[must_use]
    pub fn without_namespace(&self, key: &str) -> Self {
        Self { namespaces: self.namespaces.without(key), ..self.clone() }
    }

    /// All namespaces in list order.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.iter()
    }

    /// The flag with this key in this namespace.
    ///
    /// # Errors
    ///
    /// If the namespace or the flag does not exist.
    pub fn flag(&self, namespace: &str, flag: &str) -> Result<&Arc<Flag>, EvaluationError> {
        let found = self
            .namespace(namespace)
            .ok_or_else(|| EvaluationError::NamespaceNotFound { namespace: namespace.to_owned() })?;
        let flag_found =
            if self.ignores_letter_case { found.flag_ignoring_case(flag) } else { found.flag(flag) };
        flag_found.ok_or_else(|| EvaluationError::FlagNotFound {
            namespace: namespace.to_owned(),
            flag: flag.to_owned(),
        })
    }

    /// Evaluates a boolean flag.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::flag`] and [`Flag::boolean`].
    pub fn boolean(
        &self,
        request: &Request<'_, impl Context + ?Sized>,
    ) -> Result<BooleanResult<'_>, EvaluationError> {
        let flag = self.flag(request.namespace, request.flag)?;
        if self.ignores_letter_case {
            return flag.boolean_spelt(request.flag, request.entity, request.context);
        }
        flag.boolean(request.entity, request.context)
    }

    /// Evaluates a variant flag.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::flag`] and [`Flag::variant`].
    pub fn variant(
        &self,
        request: &Request<'_, impl Context + ?Sized>,
    ) -> Result<VariantResult<'_>, EvaluationError> {
        let flag = self.flag(request.namespace, request.flag)?;
        if self.ignores_letter_case {
            return flag.variant_seeded(bucket::seed(request.flag), request.entity, request.context);
        }
        flag.variant(request.entity, request.context)
    }
}
