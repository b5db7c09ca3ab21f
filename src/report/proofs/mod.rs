//! The forms for machines and for sites, held against their readers: schemas, parsers and the tools
//! that read them in earnest. Each is tried with the samples, with the recorded reports, and with
//! hostile words behind every text that a report can hold.

mod github;
mod junit;
mod markdown;
mod prometheus;
#[cfg(target_os = "linux")]
#[path = "../../../tests/it/tool.rs"]
mod tool;
#[cfg(target_os = "linux")]
mod tools;

use std::fs;
use std::path::Path;

use super::{Content, Format, Style, Verbosity, render, samples};
use crate::diagnose::diagnose;
use crate::diff::{Difference, compare};
use crate::model::Report;

/// What a name, an issuer or an error may bring along.
const HOSTILE: [&str; 12] = [
    "\n::error title=forged::forged",
    "a\r\nb\u{2028}c\u{85}d",
    "%0A::stop-commands::x %25",
    " | not | a cell | \\| `x|y` ",
    "<script>alert(1)</script> <img src=x onerror=alert(1)> &lt; &#60;",
    "]]> <!-- --> <?xml?> &amp;",
    "\"quoted\" 'too' \\n \\",
    "\u{0}\u{1}\u{8}\u{b}\u{1b}[31m\u{7f}\u{fffe}\u{ffff}\u{202e}",
    "# heading\n\n- item\n1. one\n```\ncode\n``` ~~~",
    "[link](https://evil.example) ![image](x) https://evil.example www.evil.example",
    "@everyone #1 !2 user@host.example owner/repository#3 $x$ **bold** _em_ ~~gone~~",
    "````` `` ` <https://evil.example> {#id} \u{1f3f4}\u{e0067}",
];

/// The samples, the reports that the laboratory recorded, and hostile ones.
fn reports() -> Vec<(String, Report)> {
    let owned = |(name, report): (&str, Report)| (name.to_owned(), report);
    let samples = samples::all().into_iter().map(owned);
    samples.chain(recorded()).chain(hostile()).collect()
}

fn hostile() -> Vec<(String, Report)> {
    let mut report = samples::private();
    // Not even the fields that are empty are spared.
    report.destinations[1].detail = Some("detail".to_owned());
    let texts = samples::Texts::of(&report);
    let poisoned = |(number, text)| (format!("hostile-{number}"), texts.poisoned(text));
    HOSTILE.into_iter().enumerate().map(poisoned).collect()
}

fn recorded() -> Vec<(String, Report)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/cases");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let report = super::load(&path).unwrap();
            (name, diagnose(report.into_observations()))
        })
        .collect();
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(cases.len() > 100, "{}", cases.len());
    cases
}

/// Each report against the one that has everything open, and the reverse.
fn differences() -> Vec<(String, Report, Difference)> {
    let recorded = recorded();
    let (_, open) = recorded
        .iter()
        .find(|(name, _)| name == "all-open")
        .unwrap();
    let pairs = recorded.iter().flat_map(|(name, report)| {
        [
            (
                format!("all-open-{name}"),
                report.clone(),
                compare(open, report),
            ),
            (
                format!("{name}-all-open"),
                open.clone(),
                compare(report, open),
            ),
        ]
    });
    let mut differences: Vec<_> = pairs.collect();
    for (name, report) in hostile() {
        let difference = compare(&samples::ready(), &report);
        differences.push((name, report, difference));
    }
    differences
}

fn written<'a>(content: impl Into<Content<'a>>, format: Format, verbosity: Verbosity) -> String {
    let mut out = Vec::new();
    render(content, format, Style::default(), verbosity, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let hidden = |c: char| c != '\n' && super::escape::is_unsafe(c);
    assert!(!text.contains(hidden), "{text}");
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    text
}
