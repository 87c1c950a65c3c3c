//! The sources against `docs/architecture.md`: who may import whom, and that what it names is there.

use std::fs;
use std::path::{Path, PathBuf};

/// A part of the crate, and what its sources may not name.
const RULES: [(&str, &[&str]); 4] = [
    (
        "proto",
        &[
            "crate::address",
            "crate::blocking",
            "crate::cli",
            "crate::client",
            "crate::command",
            "crate::connection",
            "crate::error",
            "crate::process",
            "crate::server",
            "crate::Address",
            "crate::Error",
        ],
    ),
    (
        "process",
        &[
            "crate::server",
            "crate::cli",
            "crate::connection",
            "crate::client",
            "proto::classic",
            "proto::native",
        ],
    ),
    (
        "server",
        &["crate::cli", "crate::connection", "crate::client"],
    ),
    (
        "connection",
        &["crate::server", "crate::process", "crate::cli"],
    ),
];

#[test]
fn no_part_imports_what_stands_above_it() {
    for (part, forbidden) in RULES {
        for (path, text) in sources(&root().join("src").join(part)) {
            for name in forbidden {
                let is_named = text
                    .lines()
                    .any(|line| is_code(line) && line.contains(name));
                assert!(!is_named, "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn no_file_of_the_server_is_named_after_a_protocol_outside_of_its_folder() {
    for part in ["server", "process"] {
        for (path, _) in sources(&root().join("src").join(part)) {
            let inside = path.strip_prefix(root().join("src").join(part)).unwrap();
            let mut parents = inside.parent().unwrap().components();
            let folder = parents.next().map(|first| first.as_os_str().to_owned());
            let is_protocols = folder.is_some_and(|name| name == "classic" || name == "native");
            let name = inside.file_name().unwrap().to_string_lossy();
            let is_named = name.contains("classic") || name.contains("native");
            assert!(is_protocols || !is_named, "{}", path.display());
        }
    }
}

#[test]
fn every_path_in_the_architecture_page_leads_somewhere() {
    let top = root().parent().unwrap().to_owned();
    let page = fs::read_to_string(top.join("docs/architecture.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| word.ends_with('/') || word.ends_with(".rs");
    let mut paths = quoted.filter(is_path).peekable();
    assert!(paths.peek().is_some());
    for path in paths {
        let places = [
            root().join("src").join(path),
            root().join(path),
            top.join(path),
        ];
        assert!(places.iter().any(|place| place.exists()), "no {path}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

/// All files below a folder, with what is in them.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}
