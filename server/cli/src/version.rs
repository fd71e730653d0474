//! `flipt --version`: what was built, from what, for what (cli spec, section 1.2).

/// The lines, each with a label that scripts look for.
pub(crate) fn banner() -> String {
    let built = |value: Option<&'static str>| value.unwrap_or("unknown");
    [
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Commit", built(option_env!("FLIPT_BUILD_COMMIT")).to_owned()),
        ("Build Date", built(option_env!("FLIPT_BUILD_DATE")).to_owned()),
        ("Toolchain", format!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"))),
        ("OS/Arch", format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)),
    ]
    .map(|(label, value)| format!("{label}: {value}\n"))
    .concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_has_a_line_of_its_own() {
        assert!(super::banner().starts_with(concat!("Version: ", env!("CARGO_PKG_VERSION"), "\n")));
    }
}
