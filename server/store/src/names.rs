//! How resources are named in error texts (api spec, section 3.2).

use flipt_model::validation::go_quote;

/// `"<namespace>/<key>"`, quoted and cleaned like a file path, as Flipt names flags and segments.
#[must_use]
pub fn cleaned(namespace: &str, key: &str) -> String {
    go_quote(&clean_path(&format!("{namespace}/{key}")))
}

/// `"<namespace>/<id>"`, quoted but not cleaned, as Flipt names rules and rollouts.
#[must_use]
pub fn joined(namespace: &str, id: &str) -> String {
    go_quote(&format!("{namespace}/{id}"))
}

/// Lexical clean-up of a relative path: empty and `.` elements go, `..` takes the element before it along.
fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|last| *last != "..") => {
                elements.pop();
            }
            ".." if rooted => {}
            other => elements.push(other),
        }
    }
    let joined = elements.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_the_api_spec_lists_them() {
        assert_eq!(cleaned("default", "a"), r#""default/a""#);
        assert_eq!(cleaned("default", ""), r#""default""#);
        assert_eq!(cleaned("default", ".."), r#"".""#);
        assert_eq!(cleaned("..", "x"), r#""../x""#);
        assert_eq!(joined("default", ".."), r#""default/..""#);
    }
}
