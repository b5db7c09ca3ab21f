//! `rules --check-drift` with rules that the kernel judges: files that people have, what is in force, and
//! lock-downs with a rule more or less.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use super::host::{Firewall, Host};
use super::{rules, world};
use crate::Outcome;
use crate::clients::expect;
use crate::runner::World;

/// A file, the options, and what is right: the exit code, words that are said, and words that are not.
type Case = (
    &'static str,
    &'static [&'static str],
    i32,
    &'static [&'static str],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "r04-first-generation.save",
        &["--edge-ip-version", "4"],
        1,
        &[
            "Missing, required",
            "UDP 7844: 198.41.192.7",
            "TCP 7844: 198.41.192.27",
            "OUTPUT",
        ],
        &["Closed by a rule", "TCP 7844: 198.41.192.7,"],
    ),
    (
        "r04-first-generation.save",
        &["--edge-ip-version", "4", "--protocol", "http2"],
        1,
        &["TCP 7844: 198.41.200.33"],
        &["UDP 7844:"],
    ),
    (
        "r08-docker-user.save",
        &[],
        4,
        &["Not in the file, required"],
        &["Missing, required", "Closed by"],
    ),
    (
        "r08-docker-user.save",
        &["--source", "172.31.9.2", "--edge-ip-version", "4"],
        1,
        &[
            "UDP 7844: 198.41.192.7",
            "-A CONNECTOR -s 172.31.9.2/32 -j DROP",
            "line 15",
        ],
        &["TCP 7844:"],
    ),
    (
        "r12-by-user.nft",
        &[],
        4,
        &[
            "Depends on a condition, required",
            "cloudflared",
            "the user",
        ],
        &["Missing, required"],
    ),
    (
        "r12-by-user.nft",
        &["--as-user", "cloudflared"],
        0,
        &["lets out everything"],
        &["7844:"],
    ),
];

/// The trials of the comparison.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = CASES
        .iter()
        .enumerate()
        .map(|(at, case)| {
            Trial::test(format!("rules::drift-{}-{at}", case.0), move || {
                Ok(file(case)?)
            })
        })
        .collect();
    trials.push(Trial::test("rules::drift-in-force", || Ok(in_force()?)));
    trials.push(Trial::test("rules::drift-includes-nothing", || {
        Ok(includes_nothing()?)
    }));
    for firewall in [Firewall::Nftables, Firewall::Iptables] {
        let name = format!("rules::drift-lockdown-{}", firewall.word());
        trials.push(Trial::test(name, move || Ok(lockdown(firewall)?)));
    }
    trials
}

/// The exit code, and all that was said.
fn compare(world: &World, args: &[&str]) -> Outcome<(Option<i32>, String)> {
    let mut command = world.product();
    command.args(["rules", "--no-optional"]).args(args);
    let output = world.output(command)?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

fn expect_said(
    found: &(Option<i32>, String),
    code: i32,
    says: &[&str],
    says_not: &[&str],
) -> Outcome {
    let (status, said) = found;
    expect(
        *status == Some(code),
        &format!("exit {code}: {status:?}\n{said}"),
    )?;
    for words in says {
        expect(said.contains(words), &format!("`{words}` is said:\n{said}"))?;
    }
    for words in says_not {
        expect(
            !said.contains(words),
            &format!("`{words}` is not said:\n{said}"),
        )?;
    }
    Ok(())
}

fn file((name, options, code, says, says_not): &Case) -> Outcome {
    let world = world()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lab/rules/cases")
        .join(name);
    let path = path.display().to_string();
    let found = compare(&world, &[options, &["--check-drift", &path][..]].concat())?;
    expect_said(&found, *code, says, says_not)
}

/// What is in force is compared without a file: open, locked down, and with a rule that closes.
fn in_force() -> Outcome {
    let world = world()?;
    let open = compare(&world, &["--check-drift"])?;
    expect_said(&open, 0, &["The rule set in force on this host"], &[])?;
    let host = Host::start(&world, Firewall::Nftables)?;
    host.apply(&rules(&world, Firewall::Nftables, &["--lockdown"])?)?;
    expect_said(&compare(&world, &["--check-drift"])?, 0, &[], &[])?;
    host.shell("iptables -A OUTPUT -p udp --dport 7844 -m comment --comment closes -j DROP")?;
    let closed = compare(&world, &["--check-drift"])?;
    expect_said(
        &closed,
        1,
        &["Closed by a rule", "closes", "UDP 7844: 198.41.192.7"],
        &["TCP 7844:"],
    )?;
    host.shell("iptables -F OUTPUT && nft delete table inet tunnelcheck")?;
    host.shell("ip6tables -P OUTPUT DROP")?;
    let dropped = compare(&world, &["--check-drift"])?;
    expect_said(
        &dropped,
        1,
        &["Missing, required", "2606:4700:a0::1", "policy"],
        &["198.41.192.7"],
    )
}

/// A file that is given cannot make root show another one.
fn includes_nothing() -> Outcome {
    let world = world()?;
    let secret = world.path("secret");
    fs::write(&secret, "root:hash-of-a-password\n")?;
    for line in [
        "include",
        "  include",
        "table inet x { chain y { }; }; include",
    ] {
        let file = world.path("rules.nft");
        fs::write(
            &file,
            format!("flush ruleset\n{line} \"{}\"\n", secret.display()),
        )?;
        let found = compare(&world, &["--check-drift", &file.display().to_string()])?;
        expect_said(&found, 2, &["include"], &["hash-of-a-password"])?;
    }
    Ok(())
}

/// A printed lock-down lets out what is needed; with a rule of somebody's that closes it, that is named.
fn lockdown(firewall: Firewall) -> Outcome {
    let world = world()?;
    let text = rules(&world, firewall, &["--no-optional", "--lockdown"])?;
    let path = world.path("rules");
    let judged = |text: &str| -> Outcome<(Option<i32>, String)> {
        fs::write(&path, text)?;
        compare(
            &world,
            &["--lockdown", "--check-drift", &path.display().to_string()],
        )
    };
    expect_said(
        &judged(&text)?,
        0,
        &["is what tunnelcheck would print now"],
        &[],
    )?;
    let (place, allow, drop) = match firewall {
        Firewall::Nftables => (
            "\t\toifname \"lo\" accept\n",
            "\t\tip daddr 192.0.2.8 tcp dport 8080 accept\n",
            "\t\tudp dport 7844 drop\n",
        ),
        _ => (
            "-A OUTPUT -o lo -j ACCEPT\n",
            "-A OUTPUT -p tcp -m tcp --dport 8080 -j ACCEPT\n",
            "-A OUTPUT -p udp -m udp --dport 7844 -j DROP\n",
        ),
    };
    // A rule for a service behind the tunnel is a difference, and closes nothing.
    let more = judged(&text.replace(place, &format!("{place}{allow}")))?;
    expect_said(
        &more,
        0,
        &["would not be printed now", allow.trim()],
        &["Closed by a rule"],
    )?;
    let closed = judged(&text.replace(place, &format!("{place}{drop}")))?;
    expect_said(
        &closed,
        1,
        &["Closed by a rule, required", "UDP 7844: 198.41.192.7"],
        &["TCP 7844:"],
    )
}
