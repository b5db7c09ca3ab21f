//! docs/ci.md: each snippet is read with the types that its reader has, and what is a script or a unit
//! is run, with saved reports in the place of the network.

mod files;
mod runs;

use std::collections::BTreeMap;

use crate::docs::document;

/// The blocks that are marked `ci=NAME`, without the fences.
fn snippets() -> BTreeMap<String, String> {
    let text = document("docs/ci.md");
    let mut snippets = BTreeMap::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (info, body) = block.split_once('\n').unwrap_or((block, ""));
        let Some((_, name)) = info.split_once(" ci=") else {
            panic!("a block that nobody checks: {info}");
        };
        let known = snippets.insert(name.to_owned(), format!("{body}\n"));
        assert!(known.is_none(), "{name} comes twice");
    }
    snippets
}

fn snippet(name: &str) -> String {
    let found = snippets().remove(name);
    found.unwrap_or_else(|| panic!("no snippet {name}"))
}

/// A snippet that no test knows would be no more than a promise.
#[test]
fn every_snippet_is_known() {
    let known: Vec<_> = snippets().into_keys().collect();
    let mut expected = [files::NAMES.as_slice(), runs::UNITS.as_slice()].concat();
    expected.sort_unstable();
    assert_eq!(known, expected);
}

/// The page's table of metrics holds those that there are, in their order.
#[test]
fn every_metric_is_told() {
    let text = document("docs/ci.md");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `tunnelcheck_"));
    let told: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let (before, after) = (recorded("all-open"), recorded("udp-dropped"));
    let diff = tunnelcheck::internal::diff::compare(&before, &after);
    let mut written = Vec::new();
    tunnelcheck::internal::report::render(
        tunnelcheck::internal::report::Content::Compared(&after, &diff),
        tunnelcheck::internal::report::Format::Prometheus,
        tunnelcheck::internal::report::Style::default(),
        tunnelcheck::internal::report::Verbosity::Normal,
        &mut written,
    )
    .unwrap_or_else(|why| panic!("{why}"));
    let written = String::from_utf8_lossy(&written);
    let types = written
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE tunnelcheck_"));
    let metrics: Vec<_> = types.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(told, metrics);
}

fn recorded(name: &str) -> tunnelcheck::internal::model::Report {
    let path = runs::sample(name);
    let report = tunnelcheck::internal::report::load(path.as_ref());
    report.unwrap_or_else(|why| panic!("{path}: {why}"))
}
