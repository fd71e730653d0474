//! Volumes that outlive pods, in a cluster of ours, which has no storage class. Others have one.

use std::path::PathBuf;

use flipt_e2e::{Failure, Result};
use serde_json::json;

use crate::{cluster_is_ours, kubectl_apply};

/// Makes a volume for a claim that is about to be made, owned by the user of our images. In a cluster of somebody else it
/// does nothing.
///
/// # Errors
/// If the folder cannot be made, or the API server refuses the volume.
pub(crate) async fn give_volume(name: &str, namespace: &str, claim: &str) -> Result<()> {
    if !cluster_is_ours() {
        return Ok(());
    }
    let folder = PathBuf::from("/var/lib/kubelet").join(name);
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::os::unix::fs::chown(&folder, Some(65532), Some(65532)).map_err(failed)?;
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "64Mi" }, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": { "namespace": namespace, "name": claim },
            "hostPath": { "path": folder },
        },
    });
    kubectl_apply("default", &volume.to_string()).await.map(drop)
}
