//! The webhook serves a certificate that somebody else makes and renews.

use flipt_e2e_cluster::{in_namespace, kubectl, kubectl_apply, release, until};
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

/// How many times operators that run have loaded a certificate.
async fn loaded() -> usize {
    let operators = ["--namespace", release::SYSTEM, "--selector", "app.kubernetes.io/component=operator"];
    let logs = kubectl(&[&["logs", "--tail", "-1"], &operators[..]].concat()).await.unwrap_or_default();
    logs.matches("webhook certificate loaded").count()
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
        release::upgrade(&release::chart(), &values).await.unwrap();
        until("the operators before are gone, and the others have loaded it", || async {
            loaded().await == 2
        })
        .await
        .unwrap();
        until("pods get sidecars", || async { create_pods(&namespace, 20).await == 0 }).await.unwrap();
        let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
        let trusted = async || {
            kubectl(&["get", "mutatingwebhookconfiguration", "flipt-injector", "--output", path])
                .await
                .unwrap()
        };
        let others = trusted().await;

        // Renewed by whoever made it, without a restart.
        kubectl_apply(release::SYSTEM, &authority.secret().to_string()).await.unwrap();
        until("it is loaded", || async { loaded().await == 4 }).await.unwrap();
        assert_eq!(create_pods(&namespace, 100).await, 0);
        assert_eq!(trusted().await, others, "the operator wrote what is not its own");

        release::upgrade(&release::chart(), &release::values()).await.unwrap();
        until("pods get sidecars again", || async {
            create_pods(&namespace, 20).await == 0 && trusted().await != others
        })
        .await
        .unwrap();
        kubectl(&["delete", "secret", SECRET, "--namespace", release::SYSTEM]).await.unwrap();
    })
    .await;
}
