//! What the documentation promises about the program, held against the program.
#![expect(clippy::panic, reason = "a test program: a missing document ends it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tunnelcheck::exit::ExitStatus;
use tunnelcheck::model::{FindingCode, Verdict};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The section of a heading, without the heading.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let after_first = text.split("\n## ").skip(1);
    after_first.map(|section| section.split_once('\n').unwrap_or((section, "")))
}

#[test]
fn every_finding_has_a_heading_and_every_heading_is_a_finding() {
    let text = document("docs/findings.md");
    let codes: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    let headings: Vec<_> = sections(&text).map(|(heading, _)| heading).collect();
    let missing: Vec<_> = codes.iter().filter(|c| !headings.contains(c)).collect();
    let unknown: Vec<_> = headings.iter().filter(|h| !codes.contains(h)).collect();
    assert!(missing.is_empty(), "without a heading: {missing:?}");
    assert!(unknown.is_empty(), "headings of no finding: {unknown:?}");
    assert_eq!(headings, codes, "the headings are in the order of reports");
}

#[test]
fn every_finding_says_what_it_means_and_what_to_do() {
    let text = document("docs/findings.md");
    for (heading, section) in sections(&text) {
        for part in ["**Seen:**", "**Means:**", "**Do:**", "**Apart:**"] {
            let count = section.matches(part).count();
            assert_eq!(count, 1, "`## {heading}` has {count} times {part}");
        }
    }
}

#[test]
fn the_contents_of_the_findings_link_to_every_one() {
    let text = document("docs/findings.md");
    for code in FindingCode::ALL {
        let link = format!("[`{code}`](#{code})");
        assert!(text.contains(&link), "no {link}");
    }
}

#[test]
fn exit_codes_are_the_same_in_both_tables() {
    let verdicts = [
        Verdict::Ready,
        Verdict::Degraded,
        Verdict::Blocked,
        Verdict::Inconclusive,
    ];
    for name in ["README.md", "docs/exit-codes.md"] {
        let text = document(name);
        for verdict in verdicts {
            let row = format!("| {} | `{verdict}` |", ExitStatus::of(verdict, false) as u8);
            assert!(text.contains(&row), "{name} has no row {row}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = BTreeSet::new();
    for name in [
        "README.md",
        "docs/ARCHITECTURE.md",
        "docs/evidence.md",
        "docs/exit-codes.md",
        "docs/findings.md",
        "docs/json.md",
    ] {
        let text = document(name);
        let folder = root
            .join(name)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !folder.join(file).exists() {
                broken.insert(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}
