//! The tools that `scripts/test` gets.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs one with an input.
pub(crate) fn tool(name: &str, args: &[&str], input: &str) -> Output {
    // What the script fetches without installing it.
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools")
        .join(name);
    let program = if fetched.exists() {
        fetched
    } else {
        name.into()
    };
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|why| panic!("{name}: {why}; scripts/test gets it"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}
