//! Rules that people have, from public threads with other values.

use libtest_mimic::Trial;

use super::stage::{Stage, tells, tells_not};
use crate::Outcome;

/// Everything closed but what cloudflared's user and others need.
const BY_USER: &str = include_str!("cases/by-user.nft");
/// What Docker makes.
const DOCKER: &str = include_str!("cases/flush-docker-before.nft");
/// A host's own rules, which begin with `flush ruleset`.
const FLUSH: &str = include_str!("cases/flush-docker-rules.nft");
/// Closes everything but the tunnel, replies of this host's own flows and DNS.
const UNDER_DROP: &str = include_str!("cases/flush-under-drop.sh");

/// From the router to the client.
const SSH: &str = "10.0.1.1 50000 10.0.1.2 22";

/// The trials of such rules.
pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("rehearsal::{name}"), move || Ok(test()?))
    };
    vec![
        trial("case-rules-by-user", by_user),
        trial("case-flush-of-docker", flush_of_docker),
        trial("case-flush-under-drop", flush_under_drop),
        trial("a-new-ssh-connection-is-closed", new_ssh_is_closed),
        trial("what-closes-a-flow-is-named", closing_rules),
    ]
}

/// Root is let out nowhere, and cloudflared's user is.
fn by_user() -> Outcome {
    let stage = Stage::build()?;
    let v4 = ["--edge-ip-version", "4", "--yes"];
    let said = stage.rehearse(BY_USER, &v4)?.ends(Some(2))?;
    tells(&said, &["does not exist", "nothing was touched"])?;
    stage.is_as_before()?;
    stage.has_users(&["cloudflared", "systemd-resolve", "systemd-timesync"])?;
    let said = stage.rehearse(BY_USER, &v4)?.ends(Some(2))?;
    let reason = [
        "close what cloudflared needs",
        "another user",
        "--as-user",
        "7844",
    ];
    tells(&said, &reason)?;
    tells_not(&said, &["applied:"])?;
    stage.is_as_before()?;
    let as_user = |name| [&v4[..], &["--as-user", name]].concat();
    let said = stage
        .rehearse(BY_USER, &as_user("nonesuch"))?
        .ends(Some(2))?;
    tells(&said, &["no user `nonesuch`"])?;
    if one_user_only()? {
        let said = stage
            .rehearse(BY_USER, &as_user("cloudflared"))?
            .ends(Some(2))?;
        return tells(&said, &["--as-user"]);
    }
    stage
        .rehearse(BY_USER, &as_user("systemd-timesync"))?
        .ends(Some(2))?;
    stage.is_as_before()?;
    stage
        .rehearse(BY_USER, &as_user("cloudflared"))?
        .ends(Some(0))?;
    stage.shows("table inet host")?;
    // cloudflared by its number.
    stage
        .rehearse(BY_USER, &as_user("4711"))?
        .ends(Some(0))
        .map(drop)
}

/// Whether this laboratory, run without root, has a single user.
fn one_user_only() -> Outcome<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_whitespace().nth(2) == Some("1"))
}

/// Docker's tables go only with leave for each, and come back to the last byte.
fn flush_of_docker() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has_only(DOCKER)?;
    let leave = |names: &[&'static str]| -> Vec<&'static str> {
        let leave = names.iter().flat_map(|name| ["--may-remove", *name]);
        leave.collect()
    };
    for (names, left) in [
        (&["nonesuch"][..], &["table ip nat", "table ip filter"][..]),
        (&["ip nat"], &["table ip filter"]),
        (&["ip nat", "ip6 filter"], &["table ip filter"]),
    ] {
        let arguments = [&*leave(names), &["--yes"]].concat();
        let said = stage.rehearse(FLUSH, &arguments)?.ends(Some(2))?;
        tells(&said, left)?;
        tells(&said, &["--may-remove 'ip filter'", "nothing was touched"])?;
        if names.contains(&"ip nat") {
            tells_not(&said, &["table ip nat"])?;
        }
        stage.is_as_before()?;
    }
    let both = leave(&["ip nat", "filter"]);
    let said = stage.rehearse(FLUSH, &both)?.ends(Some(4))?;
    tells(
        &said,
        &["change: removes table ip nat", "applied:", "restored:"],
    )?;
    stage.is_as_before()?;
    let said = stage
        .rehearse(FLUSH, &[&*both, &["--yes"]].concat())?
        .ends(Some(0))?;
    tells(&said, &["kept:"])?;
    stage.shows("table inet host")
}

/// Nothing lets the session's answers out, nor a new session in. The second run's flush meets the
/// policies of the first, which harms nobody in namespaces of its own.
fn flush_under_drop() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has_only("")?;
    stage.ssh = SSH;
    let said = stage.rehearse(UNDER_DROP, &["--yes"])?.ends(Some(2))?;
    let reason = [
        "close SSH",
        "the present SSH session",
        "a new SSH connection",
    ];
    tells(&said, &reason)?;
    tells(
        &said,
        &["policy of chain", "--may-close-ssh", "nothing was touched"],
    )?;
    tells_not(&said, &["applied:"])?;
    stage.is_as_before()?;
    let may = ["--yes", "--may-close-ssh"];
    tells(
        &stage.rehearse(UNDER_DROP, &may)?.ends(Some(0))?,
        &["kept:"],
    )?;
    let said = stage.rehearse(UNDER_DROP, &may)?.ends(Some(0))?;
    tells(&said, &["in force already", "kept:"])?;
    stage.shows("udp dport 7844")
}

/// The session that is there goes on, and the next one does not come in.
fn new_ssh_is_closed() -> Outcome {
    let mut stage = Stage::build()?;
    stage.ssh = SSH;
    let closed = "table inet bad {\n\tchain in {\n\
                  \t\ttype filter hook input priority 0; policy accept;\n\
                  \t\ttcp dport 22 tcp flags & (syn | ack) == syn drop\n\t}\n}\n";
    let said = stage.rehearse(closed, &["--yes"])?.ends(Some(2))?;
    tells(
        &said,
        &["a new SSH connection", "rule 1 of chain in", "dport 22"],
    )?;
    tells_not(&said, &["the present SSH session"])?;
    stage.is_as_before()?;
    let open = closed.replace("22", "23");
    stage.rehearse(&open, &["--yes"])?.ends(Some(0))?;
    stage.shows("dport 23")
}

/// No option changes anything in that. One address, one family or one transport is enough.
fn closing_rules() -> Outcome {
    let stage = Stage::build()?;
    let nft = |rule: &str| {
        format!(
            "table inet bad {{\n\tchain out {{\n\t\ttype filter hook output priority 0; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
        )
    };
    let save = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -d 2606:4700:a0::1/128 -p udp -m comment --comment no-quic -j REJECT\nCOMMIT\n";
    for (rules, named) in [
        (nft("udp dport 53 drop"), [":53", "udp dport 53"]),
        (
            nft("ip daddr 198.41.192.7 tcp dport 7844 reject"),
            ["TCP to 198.41.192.7:7844", "rule 1 of chain out"],
        ),
        (
            save.to_owned(),
            ["UDP to [2606:4700:a0::1]:7844", "no-quic"],
        ),
    ] {
        let arguments = ["--yes", "--may-close-ssh"];
        let said = stage.rehearse(&rules, &arguments)?.ends(Some(2))?;
        tells(
            &said,
            &["close what cloudflared needs", "nothing was touched"],
        )?;
        tells(&said, &named)?;
        tells_not(&said, &["applied:"])?;
    }
    stage.is_as_before()
}
