//! docs/lock-down.md, run to the letter: the blocks that are marked `lab=…` are what an administrator
//! copies, and at their end the check has to be ready.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use super::flows::Flows;
use super::host::{Firewall, Host};
use super::{SSH, check, expect_ready, world};
use crate::Outcome;
use crate::clients::expect;
use crate::runner::binary;
use crate::sandbox::PATH;

/// One trial for each firewall of the page.
pub(super) fn trials() -> impl Iterator<Item = Trial> {
    Firewall::ALL.into_iter().map(|firewall| {
        let name = format!("rules::the-page-{}", firewall.word());
        Trial::test(name, move || Ok(follow(firewall)?))
    })
}

fn follow(firewall: Firewall) -> Outcome {
    let commands = commands(&page()?, firewall.word());
    expect(
        commands.contains("tunnelcheck rules"),
        &format!("the page has commands for {}", firewall.word()),
    )?;
    let world = world()?;
    let mut flows = Flows::begin(&world.topology)?;
    let host = Host::start(&world, firewall)?;
    let directory = world.path("administrator");
    fs::create_dir_all(directory.join("bin"))?;
    symlink(binary(), directory.join("bin/tunnelcheck"))?;
    let mut shell = Command::new("sh");
    let product = world.product();
    shell.env_clear();
    for (name, value) in product.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    // The page says nothing of addresses; ufw takes its time for each.
    if firewall == Firewall::Ufw {
        shell.env("TUNNEL_EDGE", "198.41.192.7:7844,[2606:4700:a0::1]:7844");
    }
    shell
        .args(["-ec", &commands])
        .env(
            "PATH",
            format!("{}:{PATH}", directory.join("bin").display()),
        )
        .env(SSH.0, SSH.1)
        .current_dir(&directory);
    let output = world.output(shell)?;
    let said = [&output.stdout[..], &output.stderr].concat();
    expect(
        output.status.success(),
        &format!(
            "the page's commands pass:\n{commands}\n{}",
            String::from_utf8_lossy(&said)
        ),
    )?;
    if firewall != Firewall::Ufw {
        expect_ready(&check(&world, &[])?)?;
    }
    flows.expect_session()?;
    flows.expect_closed()?;
    drop(host);
    Ok(())
}

fn page() -> Outcome<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lock-down.md");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The blocks for everybody and those for this firewall, in the page's order.
fn commands(page: &str, word: &str) -> String {
    let mut commands = String::new();
    let mut taken = false;
    for line in page.lines() {
        if let Some(mark) = line.strip_prefix("```") {
            let marks = ["sh lab=all".to_owned(), format!("sh lab={word}")];
            taken = marks.contains(&mark.to_owned());
        } else if taken {
            commands.push_str(line);
            commands.push('\n');
        }
    }
    commands
}
