//! Which image a sidecar runs.

use flipt_crds::Image;

/// The image of a profile, completed by that of the operator's release.
pub(crate) fn resolve(image: &Image, default: &str) -> String {
    let (default_repository, default_version) = split(default);
    let repository = image.repository.as_deref().unwrap_or(default_repository);
    match (&image.digest, &image.tag) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{repository}:{tag}"),
        // The digest of another repository's image would be a guess; its tag is the version of the release.
        (None, None) if image.repository.is_some() && default_version.starts_with('@') => {
            repository.to_owned()
        }
        (None, None) => format!("{repository}{default_version}"),
    }
}

/// Repository, and tag or digest with what separates it.
fn split(image: &str) -> (&str, &str) {
    if let Some(at) = image.find('@') {
        let repository = &image[..at];
        return (split(repository).0, &image[at..]);
    }
    // A colon before the last slash belongs to the port of a registry.
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name..].find(':') {
        Some(colon) => image.split_at(name + colon),
        None => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_profile_leaves_out_is_the_releases() {
        let image = |repository: Option<&str>, tag: Option<&str>, digest: Option<&str>| Image {
            repository: repository.map(Into::into),
            tag: tag.map(Into::into),
            digest: digest.map(Into::into),
            ..Image::default()
        };
        let default = "registry:5000/flipt-sidecar:0.1.0";
        for (given, expected) in [
            (image(None, None, None), default),
            (image(None, Some("2"), None), "registry:5000/flipt-sidecar:2"),
            (image(Some("mine/x"), None, None), "mine/x:0.1.0"),
            (image(Some("mine/x"), Some("2"), None), "mine/x:2"),
            (image(Some("mine/x"), Some("2"), Some("sha256:ab")), "mine/x@sha256:ab"),
        ] {
            assert_eq!(resolve(&given, default), expected);
        }
        let pinned = "registry:5000/flipt-sidecar:0.1.0@sha256:cd";
        assert_eq!(resolve(&image(None, None, None), pinned), "registry:5000/flipt-sidecar@sha256:cd");
        assert_eq!(resolve(&image(Some("mine/x"), None, None), pinned), "mine/x");
        assert_eq!(resolve(&image(None, Some("2"), None), pinned), "registry:5000/flipt-sidecar:2");
    }
}
