//! The image of a container: what a resource says, completed by the operator's own release.

use flipt_crds::Image;

/// `repository:tag@digest`. What `image` leaves out comes from `default`: its tag and digest only if the repository
/// is left out too, because they belong together.
pub(crate) fn reference(image: &Image, default: &str) -> String {
    let (default_name, default_digest) = match default.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (default, None),
    };
    let (default_repository, default_tag) = match default_name.rsplit_once(':') {
        // A colon before a slash belongs to the port of the registry.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (default_name, None),
    };
    let repository = image.repository.as_deref().unwrap_or(default_repository);
    if let Some(digest) = &image.digest {
        return format!("{repository}@{digest}");
    }
    if let Some(tag) = &image.tag {
        return format!("{repository}:{tag}");
    }
    match (&image.repository, default_tag, default_digest) {
        (None, _, _) => default.to_owned(),
        (Some(_), Some(tag), _) => format!("{repository}:{tag}"),
        (Some(_), None, _) => repository.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_leaves_out_is_that_of_the_release() {
        let image = |repository: Option<&str>, tag: Option<&str>, digest: Option<&str>| Image {
            repository: repository.map(str::to_owned),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
            ..Image::default()
        };
        let default = "registry:5000/flipt:1.0";
        for (given, expected) in [
            (image(None, None, None), "registry:5000/flipt:1.0"),
            (image(Some("mine/flipt"), None, None), "mine/flipt:1.0"),
            (image(None, Some("2.0"), None), "registry:5000/flipt:2.0"),
            (image(Some("mine"), Some("2"), Some("sha256:ab")), "mine@sha256:ab"),
        ] {
            assert_eq!(reference(&given, default), expected);
        }
        assert_eq!(reference(&image(None, None, None), "flipt:1@sha256:cd"), "flipt:1@sha256:cd");
        assert_eq!(reference(&image(Some("mine"), None, None), "registry:5000/flipt"), "mine");
    }
}
