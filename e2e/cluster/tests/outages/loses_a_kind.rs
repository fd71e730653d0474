//! A kind that is deleted as a whole, by mistake: its flags go on as they are, and return to their objects.

use flipt_e2e_cluster::{
    App, Editor, TIMEOUT, in_namespace, kubectl, kubectl_apply, object_store, release, until,
};

use crate::manifests::{banner, shop};

async fn operator_pods() -> String {
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}\n{end}";
    let selector = "app.kubernetes.io/component=operator";
    let arguments = ["get", "pods", "--namespace", release::SYSTEM, "--selector", selector, "--output", path];
    kubectl(&arguments).await.unwrap()
}

#[tokio::test]
async fn its_flags_stay_in_the_server_and_return_to_their_objects() {
    in_namespace(|client, namespace| async move {
        release::install(&client).await;
        release::make_whole().await.unwrap();
        object_store::give_credentials(&client, &namespace).await.unwrap();
        kubectl_apply(&namespace, &shop(&namespace, true)).await.unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        let editor = Editor::new(&client).await.unwrap();
        let app = App::start(&client, &namespace, "shop", &namespace).await.unwrap();
        let decided = app.decides(true).await.unwrap();
        let operators = operator_pods().await;

        kubectl(&["delete", "customresourcedefinition", "fliptflags.flipt.io", "--timeout", TIMEOUT])
            .await
            .unwrap();
        assert_eq!(editor.flag(&namespace, "banner").await.unwrap()["enabled"], true);
        // It belongs to nobody now: whoever may edit flags may edit this one.
        assert_eq!(editor.switch(&namespace, false).await.unwrap().status, 200);
        app.decides(false).await.unwrap();
        assert_eq!(editor.switch(&namespace, true).await.unwrap().status, 200);
        app.decides(true).await.unwrap();

        release::replace(&release::values()).await.unwrap();
        until("the kind is served again", || async {
            kubectl_apply(&namespace, &banner(&namespace, true, "")).await.is_ok()
        })
        .await
        .unwrap();
        release::ready(&namespace, "fliptflag/banner").await.unwrap();
        assert_eq!(editor.switch(&namespace, false).await.unwrap().status, 409);
        assert_eq!(operator_pods().await, operators, "operators were not restarted");
        let record = app.record().await.unwrap();
        assert_eq!(record["failed"], decided["failed"], "{record}");
    })
    .await;
}
