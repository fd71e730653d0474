//! What the server says about itself (api spec, sections 11.3 and 11.4).

use flipt_api::About;
use flipt_config::Loaded;
use serde_json::{Value, json};

/// The documents that `/meta` answers with.
pub(crate) fn documents(loaded: &Loaded) -> About {
    About { info: info(loaded).to_string().into(), configuration: loaded.document.to_string().into() }
}

fn info(loaded: &Loaded) -> Value {
    let mut info = json!({
        "version": env!("CARGO_PKG_VERSION"),
        // Clients only look whether it is there.
        "goVersion": concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        // Nobody is asked for updates.
        "updateAvailable": false,
        "isRelease": env!("CARGO_PKG_VERSION_PRE").is_empty(),
        "os": std::env::consts::OS,
        "arch": architecture(),
        "authentication": {"required": loaded.config.authentication.required},
        "storage": {"type": loaded.config.storage.kind.name()},
        "analytics": {},
        "ui": {},
    });
    let build = [
        ("/commit", option_env!("FLIPT_BUILD_COMMIT").map(Value::from)),
        ("/buildDate", option_env!("FLIPT_BUILD_DATE").map(Value::from)),
        ("/storage/readOnly", loaded.config.storage.read_only.then_some(Value::Bool(true))),
        ("/ui/theme", shown(loaded, "/ui/defaultTheme")),
        ("/ui/topbarColor", shown(loaded, "/ui/topbar/color")),
    ];
    for (place, value) in build {
        let Some((object, name)) = place.rsplit_once('/') else { continue };
        if let (Some(Value::Object(object)), Some(value)) = (info.pointer_mut(object), value) {
            object.insert(name.to_owned(), value);
        }
    }
    info
}

/// A text of the configuration that is not empty.
fn shown(loaded: &Loaded, place: &str) -> Option<Value> {
    loaded
        .document
        .pointer(place)
        .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        .cloned()
}

/// The architecture under the name that Flipt gives it.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
