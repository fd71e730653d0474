//! `storage`: where flag state lives (config spec, section 3.11).

use std::{path::PathBuf, time::Duration};

use crate::{BundleReference, Bundles, Origin, Secret, Wording, reader::Reader};

/// Shortest time between two looks at a source.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// Where flag state lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageType {
    /// In the database.
    Database,
    /// In a folder.
    Local(Local),
    /// In a git repository.
    Git,
    /// In a bucket.
    Object,
    /// In a bundle.
    Oci,
}

impl StorageType {
    /// The name that configuration and metadata use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Local(_) => "local",
            Self::Git => "git",
            Self::Object => "object",
            Self::Oci => "oci",
        }
    }
}

/// `storage`: where flag state lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The kind of storage.
    pub kind: StorageType,
    /// Whether every mutation is refused; always so unless it is the database.
    pub read_only: bool,
}

/// `storage.local`: a folder of feature files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The folder; relative to the working directory.
    pub path: PathBuf,
    /// How often it is looked at. The key is ours; Flipt's interval is fixed.
    pub poll_interval: Duration,
}

impl Storage {
    pub(crate) fn read(reader: &mut Reader<'_>, bundles: &Bundles) -> Self {
        let name = reader.text("storage.type", "database");
        // Every block is read whatever the type is: a value of the wrong kind is refused everywhere.
        let local = shown_if(reader, name == "local", read_local);
        let git = shown_if(reader, name == "git", Git::read);
        let object = shown_if(reader, name == "object", Object::read);
        let oci = shown_if(reader, name == "oci", |reader| Oci::read(reader, bundles));
        let kind = match name.as_str() {
            "database" => StorageType::Database,
            "local" => {
                if local.path.as_os_str().is_empty() {
                    let remedy = "the path of a folder";
                    reader.refuse(
                        Wording::Fixed,
                        "storage.local.path",
                        "local path must be specified",
                        remedy,
                    );
                }
                StorageType::Local(local)
            }
            "git" => {
                git.check(reader);
                StorageType::Git
            }
            "object" => {
                object.check(reader);
                StorageType::Object
            }
            "oci" => {
                oci.check(reader);
                StorageType::Oci
            }
            _ => {
                let problem = format!("unexpected storage type: {name:?}");
                let remedy = "database, local, git, object or oci";
                reader.refuse(Wording::Bare, "storage.type", problem, remedy);
                StorageType::Database
            }
        };
        if matches!(kind, StorageType::Git | StorageType::Object | StorageType::Oci) {
            let origin = reader.is_set("storage.type").unwrap_or(Origin::Default);
            reader.note(format!(
                "{origin}: storage.type: {} is not supported yet, the server does not start with it",
                kind.name()
            ));
        }
        let is_database = kind == StorageType::Database;
        let read_only = reader.bool("storage.read_only", !is_database);
        if !is_database && !read_only {
            reader.refuse(
                Wording::Fixed,
                "storage.read_only",
                "setting read only mode is only supported with database storage",
                "true, or nothing",
            );
        }
        Self { kind, read_only: read_only || !is_database }
    }
}

/// Reads a block; its defaults are shown only if it is in use.
pub(crate) fn shown_if<T>(
    reader: &mut Reader<'_>,
    in_use: bool,
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> T {
    let mark = reader.mark();
    let block = read(reader);
    if !in_use {
        reader.hide_defaults(mark);
    }
    block
}

fn read_local(reader: &mut Reader<'_>) -> Local {
    Local {
        path: reader.text("storage.local.path", ".").into(),
        poll_interval: reader.duration("storage.local.poll_interval", Duration::from_secs(10), SHORTEST_POLL),
    }
}

/// `storage.git`, as far as it is checked.
struct Git {
    repository: String,
    reference: String,
    reference_type: String,
    certificates: (String, String),
    basic: (String, Option<Secret>),
    ssh_password: Option<Secret>,
    ssh_key_bytes: Option<Secret>,
    ssh_key_path: String,
    is_ssh: bool,
}

impl Git {
    fn read(reader: &mut Reader<'_>) -> Self {
        let repository = reader.secret_url("storage.git.repository", "").0;
        let reference = reader.text("storage.git.ref", "main");
        let reference_type = reader.text("storage.git.ref_type", "static");
        reader.text("storage.git.directory", "");
        reader.duration("storage.git.poll_interval", Duration::from_secs(30), SHORTEST_POLL);
        reader.choice("storage.git.backend.type", 0, &[("memory", 0), ("local", 1)]);
        reader.text("storage.git.backend.path", "");
        let certificates =
            (reader.text("storage.git.ca_cert_bytes", ""), reader.text("storage.git.ca_cert_path", ""));
        reader.bool("storage.git.insecure_skip_tls", false);
        let basic = (
            reader.text("storage.git.authentication.basic.username", ""),
            reader.secret("storage.git.authentication.basic.password"),
        );
        reader.secret("storage.git.authentication.token.access_token");
        let user = reader.optional_text("storage.git.authentication.ssh.user");
        let ssh_password = reader.secret("storage.git.authentication.ssh.password");
        let ssh_key_bytes = reader.secret("storage.git.authentication.ssh.private_key_bytes");
        let ssh_key_path = reader.text("storage.git.authentication.ssh.private_key_path", "");
        let insecure = reader.bool("storage.git.authentication.ssh.insecure_ignore_host_key", false);
        let is_ssh = user.is_some()
            || ssh_password.is_some()
            || ssh_key_bytes.is_some()
            || !ssh_key_path.is_empty()
            || insecure;
        Self {
            repository,
            reference,
            reference_type,
            certificates,
            basic,
            ssh_password,
            ssh_key_bytes,
            ssh_key_path,
            is_ssh,
        }
    }

    /// Refuses the first thing that is wrong, in the order in which the reference looks.
    fn check(&self, reader: &mut Reader<'_>) {
        let is_set = |secret: &Option<Secret>| secret.as_ref().is_some_and(|text| !text.expose().is_empty());
        let (bytes, path) = &self.certificates;
        let one_key = is_set(&self.ssh_key_bytes) == self.ssh_key_path.is_empty();
        let (key, problem, remedy) = if self.reference.trim().is_empty() {
            ("storage.git.ref", "git ref must be specified", "a branch or a commit")
        } else if self.repository.is_empty() {
            ("storage.git.repository", "git repository must be specified", "the URL of a repository")
        } else if !matches!(self.reference_type.as_str(), "static" | "semver") {
            ("storage.git.ref_type", "invalid git storage reference type", "static or semver")
        } else if !bytes.is_empty() && !path.is_empty() {
            (
                "storage.git.ca_cert_bytes",
                "please provide only one of ca_cert_path or ca_cert_bytes",
                "one of the two keys",
            )
        } else if self.basic.0.is_empty() == is_set(&self.basic.1) {
            (
                "storage.git.authentication.basic",
                "both username and password need to be provided for basic auth",
                "both keys, or none",
            )
        } else if self.is_ssh && !is_set(&self.ssh_password) {
            (
                "storage.git.authentication.ssh.password",
                "ssh authentication: password required",
                "the key's passphrase; any text if it has none",
            )
        } else if self.is_ssh && !one_key {
            (
                "storage.git.authentication.ssh",
                "ssh authentication: please provide exclusively one of private_key_bytes or private_key_path",
                "one of the two keys",
            )
        } else {
            return;
        };
        reader.refuse(Wording::Fixed, key, problem, remedy);
    }
}

/// `storage.object`, as far as it is checked.
struct Object {
    kind: String,
    s3_bucket: String,
    azure_container: String,
    google_bucket: String,
}

impl Object {
    fn read(reader: &mut Reader<'_>) -> Self {
        let minute = Duration::from_secs(60);
        let kind = reader.text("storage.object.type", "");
        let s3_bucket = reader.text("storage.object.s3.bucket", "");
        reader.text("storage.object.s3.prefix", "");
        reader.text("storage.object.s3.region", "");
        reader.text("storage.object.s3.endpoint", "");
        reader.duration("storage.object.s3.poll_interval", minute, SHORTEST_POLL);
        let azure_container = reader.text("storage.object.azblob.container", "");
        reader.text("storage.object.azblob.endpoint", "");
        reader.duration("storage.object.azblob.poll_interval", minute, SHORTEST_POLL);
        let google_bucket = reader.text("storage.object.googlecloud.bucket", "");
        reader.text("storage.object.googlecloud.prefix", "");
        reader.duration("storage.object.googlecloud.poll_interval", minute, SHORTEST_POLL);
        Self { kind, s3_bucket, azure_container, google_bucket }
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let (key, problem, remedy) = match self.kind.as_str() {
            "s3" if self.s3_bucket.is_empty() => {
                ("storage.object.s3.bucket", "s3 bucket must be specified", "the name of a bucket")
            }
            "azblob" if self.azure_container.is_empty() => (
                "storage.object.azblob.container",
                "azblob container must be specified",
                "the name of a container",
            ),
            "googlecloud" if self.google_bucket.is_empty() => (
                "storage.object.googlecloud.bucket",
                "googlecloud bucket must be specified",
                "the name of a bucket",
            ),
            "s3" | "azblob" | "googlecloud" => return,
            _ => {
                ("storage.object.type", "object storage type must be specified", "s3, azblob or googlecloud")
            }
        };
        reader.refuse(Wording::Fixed, key, problem, remedy);
    }
}

/// `storage.oci`, as far as it is checked.
struct Oci {
    repository: String,
    manifest_version: String,
    authentication_type: String,
}

impl Oci {
    fn read(reader: &mut Reader<'_>, bundles: &Bundles) -> Self {
        let repository = reader.text("storage.oci.repository", "");
        let authentication_type = reader.text("storage.oci.authentication.type", "static");
        reader.text("storage.oci.authentication.username", "");
        reader.secret("storage.oci.authentication.password");
        reader.duration("storage.oci.poll_interval", Duration::from_secs(30), SHORTEST_POLL);
        Self { repository, manifest_version: bundles.manifest_version.clone(), authentication_type }
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let mut refuse = |key, problem: &str, remedy| reader.refuse(Wording::Fixed, key, problem, remedy);
        if self.repository.is_empty() {
            refuse(
                "storage.oci.repository",
                "oci storage repository must be specified",
                "[<scheme>://][<registry>/]<bundle>[:<tag>]",
            );
        } else if !matches!(self.manifest_version.as_str(), "1.0" | "1.1") {
            refuse(
                "storage.oci.manifest_version",
                "wrong manifest version, it should be 1.0 or 1.1",
                "1.0 or 1.1",
            );
        } else if let Err(error) = self.repository.parse::<BundleReference>() {
            refuse(
                "storage.oci.repository",
                &format!("validating OCI configuration: {error}"),
                "[<scheme>://][<registry>/]<bundle>[:<tag>]",
            );
        } else if !matches!(self.authentication_type.as_str(), "static" | "aws-ecr") {
            refuse(
                "storage.oci.authentication.type",
                "oci authentication type is not supported",
                "static or aws-ecr",
            );
        }
    }
}
