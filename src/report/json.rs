//! The report as JSON, written and read again.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::escape::{escape, is_unsafe};
use crate::encoding::utf16;
use crate::model::{Report, SCHEMA_VERSION};

/// The largest report that is read, in bytes. A check of 40 addresses writes a few hundred kilobytes.
pub const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Why a saved report cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is larger than [`MAX_REPORT_BYTES`].
    #[error("is larger than {} MiB, so it is not a report of tunnelcheck", MAX_REPORT_BYTES >> 20)]
    TooLarge,
    /// Not JSON, or not an object with a schema version.
    #[error(
        "is not a JSON report of tunnelcheck: {0}; `tunnelcheck --output FILE.json` writes one"
    )]
    NotAReport(String),
    /// Written by a version of the program that knows more.
    #[error(
        "was made by a newer tunnelcheck: it has schema version {0}, this one reads up to {SCHEMA_VERSION}; use a newer tunnelcheck"
    )]
    Newer(u64),
    /// A report of a version that is known, with something in it that is not.
    #[error("is damaged: {0}")]
    Damaged(String),
}

/// Takes a report of one schema version to the next. What it cannot make sense of it leaves as it is,
/// and the types find it damaged.
type Upgrade = fn(Value) -> Value;

/// The way from each older schema version to the one after it, the first from version 1 to 2. The
/// length sees to it that none is forgotten.
const UPGRADES: [Upgrade; SCHEMA_VERSION as usize - 1] = [from_version_1];

/// Version 2 adds fields that may be absent, and changes none.
fn from_version_1(mut report: Value) -> Value {
    if let Some(version) = report.get_mut("schema_version") {
        *version = 2.into();
    }
    report
}

/// Pretty JSON with a final line feed. Characters that a terminal would act on are written as
/// `\uXXXX`, which is the same to every JSON reader.
pub(super) fn write(value: &impl Serialize) -> io::Result<String> {
    Ok(safe(&serde_json::to_string_pretty(value)?))
}

/// As [`write`], in a single line: one of a stream of values.
pub(super) fn write_line(value: &impl Serialize) -> io::Result<String> {
    Ok(safe(&serde_json::to_string(value)?))
}

fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    safe
}

/// Reads a report from a file, or from standard input where the path is `-`.
///
/// # Errors
/// See [`ReadError`].
pub fn load(path: &Path) -> Result<Report, ReadError> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    source.take(MAX_REPORT_BYTES + 1).read_to_end(&mut bytes)?;
    read(&bytes)
}

/// Reads a report. The schema version is judged first, so that a report of a newer program is
/// called that, and not damaged.
///
/// # Errors
/// See [`ReadError`].
pub fn read(bytes: &[u8]) -> Result<Report, ReadError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: Value,
        started_at: Option<Value>,
        outcome: Option<Value>,
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_REPORT_BYTES) {
        return Err(ReadError::TooLarge);
    }
    // Windows shells choose the encoding of what is redirected to a file, with a byte order mark.
    let wide = utf16(bytes);
    let bytes = wide.as_deref().map_or(bytes, str::as_bytes);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(ReadError::NotAReport("it is empty".to_owned()));
    }
    let versioned = serde_json::from_slice::<Versioned>(bytes);
    let version = versioned.map_err(|why| ReadError::NotAReport(say(&why)))?;
    if version.outcome.is_some() && version.started_at.is_none() {
        let why = "it is a comparison of two, as `tunnelcheck diff` writes it";
        return Err(ReadError::NotAReport(why.to_owned()));
    }
    let Some(version) = version
        .schema_version
        .as_u64()
        .filter(|version| *version > 0)
    else {
        let why = format!("schema_version is {}", version.schema_version);
        return Err(ReadError::NotAReport(escape(&why).into_owned()));
    };
    if version > u64::from(SCHEMA_VERSION) {
        return Err(ReadError::Newer(version));
    }
    let damaged = |why: serde_json::Error| ReadError::Damaged(say(&why));
    match steps(version, &UPGRADES) {
        [] => serde_json::from_slice(bytes).map_err(damaged),
        steps => {
            let old = serde_json::from_slice(bytes).map_err(damaged)?;
            let new = steps.iter().fold(old, |report, step| step(report));
            serde_json::from_value(new).map_err(damaged)
        }
    }
}

impl Report {
    /// Reads a report that this program wrote, also one of an earlier version.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        read(bytes)
    }

    /// Writes the report as `tunnelcheck --format json` does. Whatever a terminal would act on is escaped.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn to_json(&self) -> io::Result<String> {
        write(self)
    }
}

/// The upgrades that a report of this version has before it.
fn steps(version: u64, upgrades: &[Upgrade]) -> &[Upgrade] {
    let done = usize::try_from(version - 1).unwrap_or(usize::MAX);
    upgrades.get(done..).unwrap_or_default()
}

/// serde's words may quote the file.
fn say(error: &serde_json::Error) -> String {
    escape(&error.to_string()).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn what_is_written_reads_as_the_same() {
        for (name, report) in samples::all() {
            let text = write(&report).unwrap();
            assert!(text.ends_with("}\n"));
            assert_eq!(read(text.as_bytes()).unwrap(), report, "{name}");
        }
    }

    #[test]
    fn nothing_in_the_text_acts_on_a_terminal() {
        let mut report = samples::ready();
        report.summary = "\u{9b}2J \u{202e} \x1b \u{e0041} \n".to_owned();
        let text = write(&report).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)));
        assert_eq!(read(text.as_bytes()).unwrap(), report);
    }

    #[test]
    fn a_newer_report_is_called_newer() {
        let error = read(br#"{"schema_version": 3, "unheard_of": true}"#).unwrap_err();
        assert!(
            error.to_string().contains("use a newer tunnelcheck"),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_known_of_a_known_version_is_no_obstacle() {
        let mut value = serde_json::to_value(samples::ready()).unwrap();
        value["unheard_of"] = true.into();
        value["difference"] = serde_json::json!({"worse": []});
        assert_eq!(
            read(value.to_string().as_bytes()).unwrap(),
            samples::ready()
        );
    }

    #[test]
    fn an_older_report_takes_every_step_from_its_version_on() {
        fn from_one(mut report: Value) -> Value {
            report["steps"] = "1".into();
            report
        }
        fn from_two(mut report: Value) -> Value {
            report["steps"] = format!("{}2", report["steps"].as_str().unwrap_or_default()).into();
            report
        }
        let upgraded = |version| {
            let upgrades: [Upgrade; 2] = [from_one, from_two];
            let steps = steps(version, &upgrades).iter();
            let report = serde_json::json!({"steps": ""});
            steps.fold(report, |report, step| step(report))["steps"].clone()
        };
        assert_eq!([1, 2, 3, 9].map(upgraded), ["12", "2", "", ""]);
    }

    #[test]
    fn other_files_are_called_what_they_are() {
        let deep = "[".repeat(100_000);
        let nested = format!(r#"{{"schema_version": {deep}"#);
        let huge = r#"{"schema_version": 1, "duration_ms": 1e999}"#;
        for (text, word) in [
            (
                "",
                "it is empty; `tunnelcheck --output FILE.json` writes one",
            ),
            ("hello \x1b[31m", "not a JSON report"),
            ("[]", "not a JSON report"),
            ("{}", "missing field `schema_version`"),
            (r#"{"schema_version": "1"}"#, "not a JSON report"),
            (r#"{"schema_version": 0}"#, "not a JSON report"),
            (r#"{"schema_version": -1}"#, "not a JSON report"),
            (r#"{"schema_version": 1e400}"#, "not a JSON report"),
            (r#"{"schema_version": 1}"#, "is damaged: missing field"),
            (
                r#"{"schema_version": 1, "outcome": "worse"}"#,
                "it is a comparison of two",
            ),
            (huge, "number out of range"),
            (deep.as_str(), "not a JSON report"),
            (nested.as_str(), "recursion limit"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{text:.40}: {error}");
            assert!(!error.chars().any(is_unsafe));
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_obstacle() {
        let text = write(&samples::ready()).unwrap();
        assert!(read(format!("\u{feff}{text}").as_bytes()).is_ok());
    }
}
