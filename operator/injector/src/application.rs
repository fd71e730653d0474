//! What the application's containers get: its token, and where its sidecar is.

use serde_json::{Value, json};

use crate::{
    annotation::{Overrides, Warnings},
    container::SIDECAR,
    patch::Draft,
    place, pod,
    ports::ChosenPorts,
    profile::Profile,
    volumes::{TOKEN_FOLDER, Volumes},
};

/// Tells the chosen containers, all of the application unless the pod names some, where their sidecar is. What a
/// container sets itself stays. `before`: the ports that an earlier injection told them.
pub(crate) fn connect(
    draft: &mut Draft,
    profile: &Profile,
    overrides: &Overrides,
    ports: ChosenPorts,
    before: Option<ChosenPorts>,
    volumes: &Volumes,
    warnings: &mut Warnings,
) {
    for list in pod::LISTS {
        for index in 0..pod::items(&draft.pod()["spec"], list).len() {
            let path = format!("/spec/{list}/{index}");
            let container = draft.pod()["spec"][list][index].clone();
            let name = pod::name(&container);
            let chosen = match &overrides.containers {
                Some(names) => names.iter().any(|chosen| chosen == name),
                None => !place::is_mesh(name),
            };
            if name == SIDECAR || !chosen {
                continue;
            }
            let has_token = volumes
                .token
                .as_deref()
                .is_some_and(|volume| mount_token(draft, &path, &container, volume, warnings));
            if profile.spec.client_env {
                let before = before.map(|before| variables(profile, overrides, before, has_token));
                for (index, variable) in
                    variables(profile, overrides, ports, has_token).into_iter().enumerate()
                {
                    let before = before.as_ref().and_then(|before| before.get(index));
                    set(draft, &path, &container, &variable, before);
                }
            }
        }
    }
}

/// Mounts the token, unless the container has something else in its place.
fn mount_token(
    draft: &mut Draft,
    path: &str,
    container: &Value,
    volume: &str,
    warnings: &mut Warnings,
) -> bool {
    let folder = |mount: &&Value| {
        mount["mountPath"].as_str().is_some_and(|path| path.trim_end_matches('/') == TOKEN_FOLDER)
    };
    match pod::items(container, "volumeMounts").iter().find(folder) {
        Some(mount) if pod::name(mount) == volume => true,
        Some(_) => {
            let name = pod::name(container);
            warnings.push(format!("container {name} has a volume at {TOKEN_FOLDER} and gets no token"));
            false
        }
        None => {
            let mount = json!({ "name": volume, "mountPath": TOKEN_FOLDER, "readOnly": true });
            draft.push(&format!("{path}/volumeMounts"), mount);
            true
        }
    }
}

type Variable = (&'static str, String);

fn variables(profile: &Profile, overrides: &Overrides, ports: ChosenPorts, has_token: bool) -> Vec<Variable> {
    let url = format!("http://127.0.0.1:{}", ports.http);
    let mut variables = vec![
        ("FLIPT_URL", url.clone()),
        ("FLIPT_GRPC_URL", format!("http://127.0.0.1:{}", ports.grpc)),
        ("OFREP_ENDPOINT", url),
        ("FLIPT_ENV_NAMESPACE", namespace(profile, overrides)),
    ];
    if has_token {
        variables.push(("FLIPT_TOKEN_FILE", format!("{TOKEN_FOLDER}/token")));
    }
    variables
}

/// The namespace that a client asks for unless told otherwise: the usual one, if the sidecar has it.
fn namespace(profile: &Profile, overrides: &Overrides) -> String {
    const USUAL: &str = "default";
    let loaded = overrides.namespaces.as_ref().unwrap_or(&profile.spec.namespaces);
    let is_usual = |key: &String| key == USUAL || key.contains('*');
    match loaded.first() {
        Some(first) if !loaded.iter().any(is_usual) => first.clone(),
        _ => USUAL.to_owned(),
    }
}

fn set(
    draft: &mut Draft,
    path: &str,
    container: &Value,
    (name, value): &Variable,
    before: Option<&Variable>,
) {
    let present = pod::items(container, "env").iter().position(|variable| pod::name(variable) == *name);
    match present {
        None => draft.push(&format!("{path}/env"), json!({ "name": name, "value": value })),
        // What an earlier injection has set, and nobody has changed.
        Some(index) if before.is_some_and(|(_, before)| container["env"][index]["value"] == **before) => {
            draft.set(&format!("{path}/env/{index}/value"), json!(value));
        }
        Some(_) => {}
    }
}
