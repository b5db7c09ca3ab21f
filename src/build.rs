//! Gives the program its version with the commit that it is made of: `0.1.0 (9cbfdc5f00d1)`, with
//! `-dirty` where what it is made of differs from that commit, and without a commit where none is
//! known.
//!
//! The commit comes from `.cargo_vcs_info.json` in a package, else from git. Everything that the
//! answer depends on is named to cargo, so that it is asked again when, and only when, it may differ.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of, and nothing else: a changed test is no other program.
const MADE_OF: [&str; 4] = ["src", "Cargo.toml", "Cargo.lock", "docs/findings.md"];

/// Where cargo notes the commit that a package was made from.
const PACKAGE: &str = ".cargo_vcs_info.json";

fn main() {
    // Cargo runs build scripts in the package's folder.
    let commit = if Path::new(PACKAGE).exists() {
        println!("cargo::rerun-if-changed={PACKAGE}");
        fs::read_to_string(PACKAGE)
            .ok()
            .and_then(|note| packaged(&note))
    } else {
        for file in MADE_OF.iter().flat_map(|path| files(Path::new(path))) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        // Asked only at the top of a repository: unpacked below another one, its commit is not ours.
        Path::new(".git").exists().then(of_repository).flatten()
    };
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=TUNNELCHECK_VERSION={version}");
}

/// The commit of a package. Written by cargo, in one known form; not worth a JSON library.
fn packaged(note: &str) -> Option<String> {
    let (_, rest) = note.split_once("\"sha1\"")?;
    let hash = rest.split('"').nth(1)?;
    Some(named(hash, note.contains("\"dirty\"")))
}

fn of_repository() -> Option<String> {
    let hash = git(&["rev-parse", "HEAD"])?;
    // Whatever moves HEAD writes into one of these; a file that is not there would ask every time.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let places = ["HEAD", "logs/HEAD", "packed-refs"].into_iter();
    for place in places.chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", place])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let mut differing = vec!["diff", "--name-only", "HEAD", "--"];
    differing.extend(MADE_OF);
    let dirty = git(&differing).is_none_or(|names| !names.is_empty());
    Some(named(&hash, dirty))
}

fn named(hash: &str, dirty: bool) -> String {
    let short: String = hash.chars().take(12).collect();
    short + if dirty { "-dirty" } else { "" }
}

/// What git answers, or nothing where there is no git or it refuses.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        // Reads alone: no lock that a git command of somebody else would meet.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .args(args)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The file itself, or the sources below a folder: no snapshots, which tests write.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() || path.extension() == Some(OsStr::new("rs")))
        .flat_map(|path| files(&path))
        .collect()
}
