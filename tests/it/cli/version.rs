//! Where the version has its commit from: the build script, run in repositories and packages that
//! are made for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::text;

/// A folder with the build script compiled beside it.
struct Bench {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("build-script");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build.rs");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args(["--edition", "2024", "-o"])
            .arg(&script)
            .arg(source)
            .status();
        assert!(compiled.unwrap().success());
        Self { folder, script }
    }

    /// A package of one source file, in a folder of this name.
    fn package(&self, name: &str) -> PathBuf {
        let package = self.folder.path().join(name);
        fs::create_dir_all(package.join("src")).unwrap();
        fs::create_dir_all(package.join("tests")).unwrap();
        fs::write(package.join("src/main.rs"), "fn main() {}\n").unwrap();
        fs::create_dir_all(package.join("docs")).unwrap();
        for file in [
            "tests/main.rs",
            "Cargo.toml",
            "Cargo.lock",
            "docs/findings.md",
        ] {
            fs::write(package.join(file), "").unwrap();
        }
        package
    }

    /// The version that the script gives, and what it wants to be run again for.
    fn run(&self, package: &Path) -> (String, Vec<String>) {
        let output = Command::new(&self.script)
            .current_dir(package)
            .env("CARGO_PKG_VERSION", "1.2.3")
            .output()
            .unwrap();
        assert!(output.status.success());
        let lines = text(&output.stdout);
        let values = |key: &str| -> Vec<String> {
            let values = lines.lines().filter_map(|line| line.strip_prefix(key));
            values.map(str::to_owned).collect()
        };
        let version = values("cargo::rustc-env=TUNNELCHECK_VERSION=");
        assert_eq!(version.len(), 1, "{lines}");
        (version[0].clone(), values("cargo::rerun-if-changed="))
    }
}

/// git without anybody's configuration.
fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@localhost"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

fn repository(package: &Path) -> String {
    git(package, &["init", "--quiet"]);
    git(package, &["add", "--all"]);
    git(package, &["commit", "--quiet", "--message", "first"]);
    git(package, &["rev-parse", "HEAD"])
}

#[test]
fn in_a_repository_it_is_the_commit_and_whether_the_sources_differ() {
    let bench = Bench::new();
    let package = bench.package("clone");
    let first = repository(&package);
    let version = format!("1.2.3 ({first:.12})");
    let (told, watched) = bench.run(&package);
    assert_eq!(told, version);
    // A place that is not there would run the script each time.
    for place in &watched {
        assert!(package.join(place).exists(), "{place}");
    }

    fs::write(package.join("tests/main.rs"), "// another test\n").unwrap();
    assert_eq!(bench.run(&package).0, version, "a test is no part of it");
    fs::write(package.join("src/main.rs"), "fn main() { loop {} }\n").unwrap();
    let dirty = format!("1.2.3 ({first:.12}-dirty)");
    assert_eq!(bench.run(&package).0, dirty);
    git(&package, &["add", "--all"]);
    assert_eq!(bench.run(&package).0, dirty);
}

/// Whatever moves HEAD changes one of the files that are watched.
#[test]
fn a_moved_head_is_seen() {
    let bench = Bench::new();
    let package = bench.package("clone");
    let first = repository(&package);
    let content = |places: &[String]| -> Vec<Vec<u8>> {
        let files = places.iter().map(|place| package.join(place));
        files.filter_map(|file| fs::read(file).ok()).collect()
    };
    git(&package, &["pack-refs", "--all"]);
    for step in [
        &["commit", "--quiet", "--allow-empty", "--message", "second"][..],
        &["checkout", "--quiet", "-b", "other", &first],
        &["reset", "--quiet", "--hard", "HEAD"],
        &["commit", "--quiet", "--amend", "--message", "amended"],
        &["checkout", "--quiet", "--detach"],
    ] {
        let (_, watched) = bench.run(&package);
        let before = content(&watched);
        git(&package, step);
        let head = git(&package, &["rev-parse", "HEAD"]);
        assert_eq!(bench.run(&package).0, format!("1.2.3 ({head:.12})"));
        assert_ne!(content(&watched), before, "{step:?}");
    }
}

#[test]
fn a_worktree_is_a_repository() {
    let bench = Bench::new();
    let package = bench.package("clone");
    let first = repository(&package);
    git(&package, &["worktree", "add", "--quiet", "../tree"]);
    let tree = bench.folder.path().join("tree");
    let (told, watched) = bench.run(&tree);
    assert_eq!(told, format!("1.2.3 ({first:.12})"));
    let head = git(&tree, &["rev-parse", "--git-path", "HEAD"]);
    assert!(watched.contains(&head), "{watched:?}");
}

#[test]
fn in_a_package_it_is_what_cargo_noted() {
    let bench = Bench::new();
    let package = bench.package("crate");
    for (note, expected) in [
        (
            r#"{ "git": { "sha1": "0123456789abcdef0123" }, "path_in_vcs": "" }"#,
            "1.2.3 (0123456789ab)",
        ),
        (
            r#"{ "git": { "sha1": "0123456789abcdef0123", "dirty": true } }"#,
            "1.2.3 (0123456789ab-dirty)",
        ),
        ("{}", "1.2.3"),
    ] {
        fs::write(package.join(".cargo_vcs_info.json"), note).unwrap();
        assert_eq!(bench.run(&package).0, expected);
    }
}

#[test]
fn without_a_repository_there_is_none_and_another_ones_is_not_taken() {
    let bench = Bench::new();
    let outer = bench.package("outer");
    repository(&outer);
    let inner = bench.package("outer/vendor/tunnelcheck");
    assert_eq!(bench.run(&inner).0, "1.2.3");
    assert_eq!(bench.run(&bench.package("unpacked")).0, "1.2.3");
}
