//! The tools that read the forms in earnest, where `scripts/test` gets them: `xmllint` with a schema, and
//! `promtool`.

use std::fs;

use super::junit::junit;
use super::prometheus::metrics;
use super::tool::tool;
use super::{Content, differences, reports, samples};
use crate::model::Report;

/// One call for all files: what is wrong with one is told with its name.
#[test]
fn files_are_valid_by_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = vec!["--noout", "--nonet", "--schema"];
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/junit-10.xsd");
    args.push(schema);
    let mut files = Vec::new();
    let mut add = |name: &str, text: String| {
        let path = folder.path().join(format!("{name}.xml"));
        fs::write(&path, text).unwrap();
        files.push(path.display().to_string());
    };
    for (name, report) in reports() {
        add(&name, junit(&report));
    }
    for (name, report, difference) in differences() {
        add(
            &format!("diff-{name}"),
            junit(Content::Difference(&difference)),
        );
        add(
            &format!("compared-{name}"),
            junit(Content::Compared(&report, &difference)),
        );
    }
    args.extend(files.iter().map(String::as_str));
    let output = tool("xmllint", &args, "");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told:.4000}");
    assert_eq!(told.matches(" validates").count(), files.len());
}

/// A schema that lets everything pass would prove nothing.
#[test]
fn the_schema_refuses_what_is_no_junit() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/junit-10.xsd");
    let valid = junit(&samples::degraded());
    for (from, to) in [
        ("<testcase name=", "<testcase nam="),
        ("<failure", "<failur"),
        ("</testsuites>", ""),
        ("tests=", "skipped=\"1\" tests="),
    ] {
        let broken = valid
            .replacen(from, to, 1)
            .replace("</failure>", "</failur>");
        let output = tool("xmllint", &["--noout", "--schema", schema, "-"], &broken);
        assert!(!output.status.success(), "{from} -> {to}");
    }
}

/// The lints of `promtool check metrics` on the samples, the hostile reports, and a dozen recorded ones.
#[test]
fn promtool_finds_nothing_to_complain_of() {
    let all = reports();
    let few = |(number, (name, report)): (usize, &(String, Report))| {
        let own = number < samples::all().len() || name.starts_with("hostile-");
        (own || number % 12 == 0).then(|| (name.clone(), metrics(report)))
    };
    let mut texts: Vec<_> = all.iter().enumerate().filter_map(few).collect();
    let (name, report, difference) = differences().pop().unwrap();
    texts.push((name, metrics(Content::Compared(&report, &difference))));
    assert!(texts.len() > 25, "{}", texts.len());
    for (name, text) in texts {
        let output = tool("promtool", &["check", "metrics"], &text);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = told + &String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.is_empty(),
            "{name}: {told}\n{text}"
        );
    }
}

/// A tool that lets everything pass would prove nothing.
#[test]
fn promtool_refuses_what_is_no_metric() {
    let valid = metrics(&samples::ready());
    for (from, to) in [
        ("{verdict=\"ready\"}", "{verdict=\"rea\"dy\"}"),
        (
            "# TYPE tunnelcheck_verdict gauge",
            "# TYPE tunnelcheck_verdict gouge",
        ),
        ("# HELP tunnelcheck_verdict", "# HALP tunnelcheck_verdict"),
    ] {
        assert!(valid.contains(from), "{from}");
        let broken = valid.replacen(from, to, 1);
        let output = tool("promtool", &["check", "metrics"], &broken);
        assert!(!output.status.success(), "{from} -> {to}");
    }
}
