//! `authentication`: who may call, and how callers prove who they are (config spec, section 3.13).

use std::{collections::BTreeMap, path::Path, time::Duration};

use crate::{
    Kubernetes, Origin, Wording,
    reader::{Reader, Secret, Shown},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// `authentication`: who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether callers must prove who they are.
    pub required: bool,
    /// Parts of the API that anybody may call nevertheless.
    pub exclude: Exclude,
    /// Sessions of browsers.
    pub session: Session,
    /// Static tokens, if they are enabled.
    pub token: Option<Token>,
    /// Service account tokens, if they are enabled.
    pub kubernetes: Option<Kubernetes>,
}

/// `authentication.exclude`: parts of the API without authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exclude {
    /// `flipt.Flipt`.
    pub management: bool,
    /// Evaluation, and snapshots for client-side evaluation.
    pub evaluation: bool,
    /// OFREP.
    pub ofrep: bool,
}

/// `authentication.session`: sessions of browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Host that cookies are for; the answering host if empty.
    pub domain: String,
    /// Whether cookies are sent over TLS only.
    pub secure: bool,
    /// How long a login lasts.
    pub token_lifetime: Duration,
    /// How long a login may take.
    pub state_lifetime: Duration,
    /// Whether requests from pages of other origins are refused.
    pub cross_origin_protection: bool,
    /// Origins whose pages may call nevertheless, as written.
    pub trusted_origins: Vec<String>,
}

/// `authentication.methods.token`: static tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Removal of tokens that have expired.
    pub cleanup: Cleanup,
    /// The first token.
    pub bootstrap: Bootstrap,
}

/// `authentication.methods.<method>.cleanup`: removal of credentials that have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// How often.
    pub interval: Duration,
    /// How long after their end credentials are kept.
    pub grace_period: Duration,
}

/// `authentication.methods.token.bootstrap`: the token that is created when there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The token; a random one if absent.
    pub token: Option<Secret>,
    /// How long it is good for; for ever if absent.
    pub expiration: Option<Duration>,
    /// What is kept with it.
    pub metadata: BTreeMap<String, String>,
}

/// Methods in the order in which Flipt checks them.
const METHODS: [&str; 5] = ["token", "github", "oidc", "kubernetes", "jwt"];
const OIDC_PROVIDERS: &str = "authentication.methods.oidc.providers";
const OIDC_FIELDS: [&str; 7] =
    ["issuer_url", "client_id", "client_secret", "redirect_address", "nonce", "scopes", "use_pkce"];
const EXCLUDED_METADATA: &str = "\"authentication.exclude.metadata\" is deprecated and will be removed in a future release. This feature never worked as intended. Metadata can no longer be excluded from authentication (when required).";

impl Authentication {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let required = reader.bool("authentication.required", false);
        let exclude = Exclude {
            management: reader.bool("authentication.exclude.management", false),
            evaluation: reader.bool("authentication.exclude.evaluation", false),
            ofrep: reader.bool("authentication.exclude.ofrep", false),
        };
        if reader.is_set("authentication.exclude.metadata").is_some() {
            reader.bool("authentication.exclude.metadata", false);
            reader.note(EXCLUDED_METADATA.to_owned());
        }
        let mut session = Session::read(reader);
        let enabled = METHODS.map(|method| {
            let key = format!("authentication.methods.{method}.enabled");
            (method, reader.bool(&key, false))
        });
        let mut cleanups = BTreeMap::new();
        for (method, enabled) in enabled.into_iter().filter(|(method, _)| *method != "jwt") {
            cleanups.insert(method, Cleanup::read(reader, method, enabled));
        }
        let bootstrap = Bootstrap::read(reader);
        let github = Github::read(reader);
        let providers = read_providers(reader);
        let jwt = Jwt::read(reader);
        let kubernetes = Kubernetes::read(reader, is_on(&enabled, "kubernetes"));
        if !reader.has_failed() && (is_on(&enabled, "github") || is_on(&enabled, "oidc")) {
            session.require_domain(reader);
        }
        if !reader.has_failed() && is_on(&enabled, "github") {
            github.check(reader);
        }
        if !reader.has_failed() && is_on(&enabled, "oidc") {
            check_providers(reader, &providers);
        }
        if !reader.has_failed() && is_on(&enabled, "jwt") {
            jwt.check(reader);
        }
        if !reader.has_failed() {
            refuse_unbuilt(reader, &enabled);
        }
        if !reader.has_failed() && required && !enabled.iter().any(|(_, enabled)| *enabled) {
            reader.note(
                "authentication.required is set, but no method below authentication.methods is enabled: every call that needs credentials is refused".to_owned(),
            );
        }
        if !required && is_on(&enabled, "kubernetes") {
            reader.note(
                "authentication.methods.kubernetes is enabled without authentication.required: nobody is asked for a token".to_owned(),
            );
        }
        if !required && is_on(&enabled, "token") {
            reader.note(
                "authentication.methods.token is enabled without authentication.required: anybody may create, list and delete tokens".to_owned(),
            );
        }
        let token = is_on(&enabled, "token").then(|| Token {
            cleanup: cleanups.get("token").copied().flatten().unwrap_or_default(),
            bootstrap,
        });
        Self { required, exclude, session, token, kubernetes }
    }
}

fn is_on(enabled: &[(&str, bool)], method: &str) -> bool {
    enabled.contains(&(method, true))
}

/// Methods whose credentials are checked.
const BUILT: [&str; 2] = ["token", "kubernetes"];

/// Refuses methods that nobody checks credentials of.
fn refuse_unbuilt(reader: &mut Reader<'_>, enabled: &[(&str, bool)]) {
    for (method, _) in enabled.iter().filter(|(method, enabled)| *enabled && !BUILT.contains(method)) {
        let key = format!("authentication.methods.{method}.enabled");
        let origin = reader.is_set(&key).unwrap_or(Origin::Default);
        reader.fail(
            &key,
            origin,
            format!(
                "method {method} is not supported yet by this version, which does not start without what it was told to check; use authentication.methods.token or authentication.methods.kubernetes"
            ),
        );
    }
}

impl Session {
    fn read(reader: &mut Reader<'_>) -> Self {
        let at_once = Duration::ZERO;
        let session = Self {
            domain: reader.text("authentication.session.domain", ""),
            secure: reader.bool("authentication.session.secure", false),
            token_lifetime: reader.duration("authentication.session.token_lifetime", 24 * HOUR, at_once),
            state_lifetime: reader.duration("authentication.session.state_lifetime", HOUR / 6, at_once),
            cross_origin_protection: reader.secret("authentication.session.csrf.key").is_some(),
            trusted_origins: reader.list("authentication.session.csrf.trusted_origins", &[]),
        };
        reader.bool("authentication.session.csrf.secure", true);
        session
    }

    /// Fails without a domain; leaves only the host of it.
    fn require_domain(&mut self, reader: &mut Reader<'_>) {
        let key = "authentication.session.domain";
        if self.domain.is_empty() {
            let problem = format!(
                "when session compatible auth method enabled: field {key:?}: non-empty value is required"
            );
            reader.fail_with(Wording::Fixed, key, Origin::Default, problem, "the host name of this server");
            return;
        }
        let rest = self.domain.split_once("://").map_or(self.domain.as_str(), |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        self.domain = host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned();
    }
}

impl Default for Cleanup {
    fn default() -> Self {
        Self { interval: HOUR, grace_period: HOUR / 2 }
    }
}

impl Cleanup {
    /// Nothing if the method is neither enabled nor its clean-up set.
    fn read(reader: &mut Reader<'_>, method: &str, enabled: bool) -> Option<Self> {
        let defaults = Self::default();
        let mut read = |name: &str, default: Duration| {
            let key = format!("authentication.methods.{method}.cleanup.{name}");
            match reader.optional_duration(&key) {
                Some((value, origin)) if value.is_zero() => {
                    if !reader.has_failed() {
                        // The missing dot is how Flipt writes it, and what scripts know.
                        let problem = format!(
                            "field \"authentication.method{method}.cleanup.{name}\": positive non-zero duration required"
                        );
                        reader.fail_with(Wording::Fixed, &key, origin, problem, "a duration such as 1h");
                    }
                    Some(default)
                }
                Some((value, _)) => Some(value),
                None if enabled => {
                    reader.derived(&key, Shown::Duration(default));
                    Some(default)
                }
                None => None,
            }
        };
        let interval = read("interval", defaults.interval);
        let grace_period = read("grace_period", defaults.grace_period);
        (enabled || interval.is_some() || grace_period.is_some()).then(|| Self {
            interval: interval.unwrap_or(defaults.interval),
            grace_period: grace_period.unwrap_or(defaults.grace_period),
        })
    }
}

impl Bootstrap {
    fn read(reader: &mut Reader<'_>) -> Self {
        let prefix = "authentication.methods.token.bootstrap";
        Self {
            token: reader.secret(&format!("{prefix}.token")),
            expiration: reader
                .optional_duration(&format!("{prefix}.expiration"))
                .map(|(expiration, _)| expiration)
                .filter(|expiration| !expiration.is_zero()),
            metadata: reader.map("authentication.methods.token.bootstrap.metadata"),
        }
    }
}

/// Fails in Flipt's words because a field of a login provider is missing.
fn require_field(reader: &mut Reader<'_>, provider: &str, field: &str, key: &str) {
    let problem = format!("provider {provider:?}: field {field:?}: non-empty value is required");
    reader.fail_with(Wording::Fixed, key, Origin::Default, problem, "the value that the provider gave you");
}

/// Fields that every login provider must have.
const PROVIDER_FIELDS: [&str; 3] = ["client_id", "client_secret", "redirect_address"];

/// Which of the fields that must be there are missing.
fn read_provider_fields(reader: &mut Reader<'_>, prefix: &str) -> Vec<&'static str> {
    let given = [
        reader.secret(&format!("{prefix}.client_id")).is_some_and(|id| !id.expose().is_empty()),
        reader.secret(&format!("{prefix}.client_secret")).is_some_and(|secret| !secret.expose().is_empty()),
        reader.optional_text(&format!("{prefix}.redirect_address")).is_some_and(|url| !url.is_empty()),
    ];
    PROVIDER_FIELDS.into_iter().zip(given).filter(|(_, given)| !given).map(|(field, _)| field).collect()
}

/// `authentication.methods.github`, as far as it is checked.
struct Github {
    missing: Vec<&'static str>,
    scopes: Vec<String>,
    organizations: Vec<String>,
    teams: Vec<String>,
}

impl Github {
    fn read(reader: &mut Reader<'_>) -> Self {
        let prefix = "authentication.methods.github";
        let missing = read_provider_fields(reader, prefix);
        for key in ["server_url", "api_url"] {
            reader.optional_text(&format!("{prefix}.{key}"));
        }
        reader.accept_all("authentication.methods.github.allowed_teams");
        let teams = reader.blocks("authentication.methods.github.allowed_teams", &[]);
        Self {
            missing,
            scopes: reader.list("authentication.methods.github.scopes", &[]),
            organizations: reader.list("authentication.methods.github.allowed_organizations", &[]),
            teams: teams.into_iter().collect(),
        }
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let prefix = "authentication.methods.github";
        if let Some(field) = self.missing.first() {
            return require_field(reader, "github", field, &format!("{prefix}.{field}"));
        }
        if !self.organizations.is_empty() && !self.scopes.iter().any(|scope| scope == "read:org") {
            let problem = "provider \"github\": field \"scopes\": must contain read:org when allowed_organizations is not empty";
            let key = format!("{prefix}.scopes");
            return reader.fail_with(Wording::Fixed, &key, Origin::Default, problem, "add read:org");
        }
        let declared = |team: &&String| {
            !self.organizations.iter().any(|organization| organization.eq_ignore_ascii_case(team))
        };
        if let Some(team) = self.teams.iter().find(declared) {
            let problem = format!(
                "provider \"github\": field \"allowed_teams\": the organization '{team}' was not declared in 'allowed_organizations' field"
            );
            let key = format!("{prefix}.allowed_teams");
            reader.fail_with(
                Wording::Fixed,
                &key,
                Origin::Default,
                problem,
                "add it to allowed_organizations",
            );
        }
    }
}

/// The names of OIDC providers, each with the fields that it lacks.
fn read_providers(reader: &mut Reader<'_>) -> Vec<(String, Vec<&'static str>)> {
    reader.list("authentication.methods.oidc.email_matches", &[]);
    let names = reader.blocks(OIDC_PROVIDERS, &OIDC_FIELDS);
    names
        .into_iter()
        .map(|name| {
            let prefix = format!("{OIDC_PROVIDERS}.{name}");
            let missing = read_provider_fields(reader, &prefix);
            for key in ["issuer_url", "nonce"] {
                reader.optional_text(&format!("{prefix}.{key}"));
            }
            reader.list(&format!("{prefix}.scopes"), &[]);
            reader.bool(&format!("{prefix}.use_pkce"), false);
            (name, missing)
        })
        .collect()
}

fn check_providers(reader: &mut Reader<'_>, providers: &[(String, Vec<&'static str>)]) {
    for (name, missing) in providers {
        if let Some(field) = missing.first() {
            return require_field(reader, name, field, &format!("{OIDC_PROVIDERS}.{name}.{field}"));
        }
    }
}

/// `authentication.methods.jwt`, as far as it is checked.
struct Jwt {
    jwks_url: Option<String>,
    public_key_file: Option<String>,
}

impl Jwt {
    fn read(reader: &mut Reader<'_>) -> Self {
        for key in ["issuer", "subject"] {
            reader.optional_text(&format!("authentication.methods.jwt.validate_claims.{key}"));
        }
        reader.list("authentication.methods.jwt.validate_claims.audiences", &[]);
        let mut text = |key: &str| {
            reader.optional_text(&format!("authentication.methods.jwt.{key}")).filter(|text| !text.is_empty())
        };
        Self { jwks_url: text("jwks_url"), public_key_file: text("public_key_file") }
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let (key, problem) = match (&self.jwks_url, &self.public_key_file) {
            (None, None) => ("jwks_url", "one of jwks_url or public_key_file is required".to_owned()),
            (Some(_), Some(_)) => {
                ("jwks_url", "only one of jwks_url or public_key_file can be set".to_owned())
            }
            (None, Some(path)) if !Path::new(path).exists() => (
                "public_key_file",
                format!("field \"public_key_file\": stat {path}: no such file or directory"),
            ),
            (Some(url), None) if !url.contains("://") => {
                ("jwks_url", format!("field \"jwks_url\": parse {url:?}: not a URL"))
            }
            _ => return,
        };
        let key = format!("authentication.methods.jwt.{key}");
        let remedy = "either the URL of a key set or the path of a PEM file that exists";
        reader.fail_with(Wording::Fixed, &key, Origin::Default, problem, remedy);
    }
}
