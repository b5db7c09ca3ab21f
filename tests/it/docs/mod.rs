//! What the documentation promises about the program, held against the program.

#[cfg(target_os = "linux")]
mod ci;
#[cfg(target_os = "linux")]
mod language;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tunnelcheck::internal::model::{ExitStatus, FindingCode, Verdict};
use tunnelcheck::internal::rules::{self, Dialect};

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
fn every_dialect_of_rules_has_a_heading() {
    let text = document("docs/rules.md");
    let text = text.split("\n# ").next().unwrap_or_default();
    let headings: Vec<_> = sections(text).map(|(heading, _)| heading).collect();
    let dialects: Vec<_> = Dialect::ALL.into_iter().map(Dialect::as_str).collect();
    assert_eq!(headings, dialects, "in the order of --help");
    for (heading, section) in sections(text) {
        assert!(section.trim().len() > 80, "`## {heading}` says nothing");
        assert!(
            text.contains(&format!("[{heading}](#{heading})")),
            "no link to {heading}"
        );
    }
}

#[test]
fn the_columns_of_the_table_are_told() {
    let text = document("docs/rules.md");
    let section = sections(&text).find(|(heading, _)| *heading == "csv");
    let (_, section) = section.unwrap_or_default();
    for column in rules::CSV_COLUMNS {
        assert!(section.contains(&format!("`{column}`")), "{column}");
    }
}

/// What every section has: what is seen, what it means for cloudflared, whom to ask for what, the
/// remedy, and what tells it from its look-alikes.
const PARTS: [&str; 5] = ["Seen", "Means", "Ask", "Do", "Apart"];

#[test]
fn every_finding_says_what_it_means_and_what_to_do() {
    let text = document("docs/findings.md");
    for (heading, section) in sections(&text) {
        for part in PARTS {
            let label = format!("**{part}:** ");
            let count = section.matches(&label).count();
            assert_eq!(count, 1, "`## {heading}` has {count} times {part}");
            let text = section.split(&label).nth(1).unwrap_or_default();
            let text = text.split("\n\n").next().unwrap_or_default();
            assert!(text.len() > 10, "`## {heading}`: {part} says nothing");
        }
    }
}

#[test]
fn the_contents_of_the_findings_link_to_every_one() {
    let text = document("docs/findings.md");
    for code in FindingCode::ALL {
        let link = format!("\n- [`{code}`](#{code}): ");
        assert!(text.contains(&link), "no {link}");
    }
}

/// What the laboratory cannot bring about, and why.
const UNPROVEN: &[(FindingCode, &str)] = &[
    (
        FindingCode::RunInterrupted,
        "a scenario's run is never interrupted: tests/it/cli/interrupt.rs could",
    ),
    (
        FindingCode::Unexplained,
        "an error without a name: a scenario that brought one about would give it a name",
    ),
    (
        FindingCode::UdpBuffers,
        "the kernel's limits are those of the machine, whatever the network namespace",
    ),
    (
        FindingCode::NoTrustedRoots,
        "every scenario gives the client a store of authorities",
    ),
];

/// A finding that no scenario brings about may never come, or always.
#[test]
fn every_finding_is_brought_about_in_the_laboratory() {
    let mut found = expected_findings();
    found.extend(recorded_findings());
    let excepted = |code: &FindingCode| UNPROVEN.iter().any(|(other, _)| other == code);
    let missing: Vec<_> = FindingCode::ALL
        .iter()
        .filter(|code| !excepted(code) && !found.contains(code.as_str()))
        .collect();
    assert!(missing.is_empty(), "in no scenario: {missing:?}");
    // A recorded report may hold what only its machine brought about.
    let expected = expected_findings();
    let proven: Vec<_> = UNPROVEN
        .iter()
        .filter(|(code, _)| expected.contains(code.as_str()))
        .collect();
    assert!(proven.is_empty(), "no exceptions any longer: {proven:?}");
}

/// The codes that the scenarios expect.
fn expected_findings() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for file in files("tests/lab/scenarios", "toml") {
        let file: toml::Table = fs::read_to_string(file)
            .unwrap_or_default()
            .parse()
            .unwrap_or_default();
        let scenarios = file.get("scenario").and_then(|found| found.as_array());
        for scenario in scenarios.into_iter().flatten() {
            let expect = scenario.get("expect");
            let findings = expect.and_then(|expect| expect.get("findings"));
            let findings = findings.and_then(|findings| findings.as_array());
            let named = findings.into_iter().flatten();
            codes.extend(named.filter_map(|code| code.as_str()).map(str::to_owned));
        }
    }
    codes
}

/// The codes of the recorded reports.
fn recorded_findings() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for file in files("tests/replay/cases", "json") {
        let bytes = fs::read(&file).unwrap_or_default();
        let report = tunnelcheck::internal::report::read(&bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let found = report.findings.iter();
        codes.extend(found.map(|finding| finding.code.to_string()));
    }
    codes
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(Result::ok);
    let of_kind = |path: &PathBuf| path.extension().is_some_and(|found| found == ending);
    entries.map(|entry| entry.path()).filter(of_kind).collect()
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

/// The documents of the repository, by their paths in it.
fn documents() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("docs: {error}"));
    let names = entries.flatten().map(|entry| entry.file_name());
    let docs = names
        .filter_map(|name| Some(format!("docs/{}", name.to_str()?)))
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|ending| ending == "md")
        });
    let top = ["README.md", "CHANGELOG.md"].map(str::to_owned);
    top.into_iter().chain(docs).collect()
}

/// What the headings of a document are called in links (as GitHub and GitLab do).
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = BTreeSet::new();
    let mut found = 0;
    for name in documents() {
        let text = document(&name);
        let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
        let links = text.split("](").skip(1);
        let targets = links.filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                PathBuf::from(&name)
            } else {
                folder.join(file)
            };
            let leads = root.join(&file).exists()
                && (anchor.is_empty()
                    || anchors(&document(&file.to_string_lossy())).contains(anchor));
            if !leads {
                broken.insert(format!("{name}: {target}"));
            }
            found += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
    assert!(found > 50, "{found}");
}
