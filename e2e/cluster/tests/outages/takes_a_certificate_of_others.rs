//! The webhook serves a certificate that somebody else makes and renews.

use flipt_e2e_cluster::{in_namespace, kubectl, kubectl_apply, release, until};
use k8s_openapi::jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::pods::create_pods;

const SECRET: &str = "certificate-of-others";

/// An authority as companies have their own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(authority, key), certificate }
    }

    /// A Secret with a new certificate of the webhook's Service.
    fn secret(&self) -> Value {
        let key = KeyPair::generate().unwrap();
        let names = vec![format!("flipt-webhook.{}.svc", release::SYSTEM)];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET }, "type": "kubernetes.io/tls",
            "stringData": {
                "ca.crt": self.certificate, "tls.crt": certificate.pem(), "tls.key": key.serialize_pem(),
            },
        })
    }
}

/// Whether all operators have loaded a certificate since then.
async fn loaded_since(time: Timestamp) -> bool {
    for pod in release::operators().await.unwrap() {
        let logs = ["logs", &pod, "--namespace", release::SYSTEM, "--tail", "-1", "--timestamps"];
        let logs = kubectl(&logs).await.unwrap_or_default();
        let last = logs.lines().rfind(|line| line.contains("webhook certificate loaded"));
        let at = last.and_then(|line| line.split_once(' ')).and_then(|(at, _)| at.parse::<Timestamp>().ok());
        if at.is_none_or(|at| at < time) {
            return false;
        }
    }
    true
}

/// What the API server trusts, of each entry of the webhook, in base64.
async fn trusted() -> Vec<String> {
    let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
    let get = ["get", "mutatingwebhookconfiguration", "flipt-injector", "--output", path];
    kubectl(&get).await.unwrap().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn pods_get_sidecars_before_and_after_it_is_renewed_and_when_the_operator_makes_its_own_again() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        let authority = Authority::new();
        kubectl_apply(release::SYSTEM, &authority.secret().to_string()).await.unwrap();
        let mut values = release::values();
        values["webhook"]["certificates"] = json!({
            "mode": "existingSecret", "secretName": SECRET, "caBundle": authority.certificate,
        });
        release::replace(&values).await.unwrap();
        until("pods get sidecars", || async { create_pods(&namespace, 20).await == 0 }).await.unwrap();
        let path = "jsonpath={.data.ca\\.crt}";
        let get = ["get", "secret", SECRET, "--namespace", release::SYSTEM, "--output", path];
        let given = kubectl(&get).await.unwrap();
        assert_eq!(trusted().await, [given.as_str(); 2], "another one is trusted than was given");

        // Renewed by whoever made it, without a restart.
        let renewed = Timestamp::now();
        kubectl_apply(release::SYSTEM, &authority.secret().to_string()).await.unwrap();
        until("it is loaded", || loaded_since(renewed)).await.unwrap();
        assert_eq!(create_pods(&namespace, 100).await, 0);
        assert_eq!(trusted().await, [given.as_str(); 2], "the operator wrote what is not its own");

        release::replace(&release::values()).await.unwrap();
        until("pods get sidecars again", || async {
            create_pods(&namespace, 20).await == 0 && !trusted().await.contains(&given)
        })
        .await
        .unwrap();
        kubectl(&["delete", "secret", SECRET, "--namespace", release::SYSTEM]).await.unwrap();
    })
    .await;
}
