//! Scripts are run where they can do nothing but make rules.

use std::fs;

use libtest_mimic::Trial;

use super::stage::{Stage, tells, tells_not};
use crate::Outcome;

/// The trials of scripts.
pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("rehearsal::{name}"), move || Ok(test()?))
    };
    vec![
        trial("a-script-runs-another-program", other_programs),
        trial("a-script-reaches-for-this-host", reaches_out),
        trial("a-script-begins-with-the-present-rules", present_rules),
        trial("a-script-that-does-not-end", endless),
    ]
}

/// Each is named with its line, also where the script goes on without it.
fn other_programs() -> Outcome {
    let stage = Stage::build()?;
    for (line, named) in [
        ("rm -rf /nonexistent", "line 3 of the script runs `rm`"),
        ("/bin/rm -rf /nonexistent || true", "runs `/bin/rm`"),
        ("ufw default deny", "--format nftables"),
        (
            "iptables -A OUTPUT -d $(dig +short x) -j ACCEPT",
            "runs `dig`",
        ),
        ("iptables-save > /etc/rules.v4", "line 3 of the script: "),
        ("iptables -A OUTPUT -j NONESUCH; exit 3", "the script fails"),
        ("$IPT -A OUTPUT -j ACCEPT", "runs `-A`"),
    ] {
        let script = format!("#!/bin/sh\niptables -P FORWARD DROP\n{line}\niptables -S\n");
        let said = stage.rehearse(&script, &["--yes"])?.ends(Some(2))?;
        tells(&said, &[named, "nothing was touched"])?;
        tells_not(&said, &["applied:"])?;
    }
    stage.is_as_before()
}

/// What a script sees and changes is not this host's.
fn reaches_out() -> Outcome {
    let stage = Stage::build()?;
    let secret = tempfile::NamedTempFile::new()?;
    fs::write(&secret, "open")?;
    let script = format!(
        "#!/bin/bash\n\
         set -e\n\
         for path in {secret} /root /home /var /run/tunnelcheck /etc/shadow /dev/sda /dev/tty /sys; do\n\
         \x20   if [ -e $path ]; then echo $path is there >&2; exit 1; fi\n\
         done\n\
         kill -9 {outside} 2>/dev/null && exit 1\n\
         echo x 2>/dev/null >/etc/hosts && exit 1\n\
         echo x 2>/dev/null >/proc/sys/kernel/domainname && exit 1\n\
         for name in /proc/[0-9]*; do [ ${{#name}} -lt 9 ] || exit 1; done\n\
         sudo sysctl -qw net.ipv4.ip_forward=1\n\
         [ \"$(cat /proc/sys/net/ipv4/ip_forward)\" = 1 ]\n\
         [ \"$(id -u)\" = 0 ]\n\
         ip link show eth0 >/dev/null\n\
         echo kept >/tmp/note\n\
         sleep 600 &\n\
         iptables -A FORWARD -d 192.0.2.77 -j DROP\n",
        secret = secret.path().display(),
        outside = std::process::id(),
    );
    let client = &stage.world.topology.client;
    let forwards = || client.run(|| fs::read_to_string("/proc/sys/net/ipv4/ip_forward"));
    let before = forwards()?;
    let said = stage.rehearse(&script, &["--yes"])?.ends(Some(0))?;
    tells(
        &said,
        &["change: changes table ip filter: changes chain FORWARD"],
    )?;
    if forwards()? != before || fs::read_to_string(&secret)? != "open" {
        return Err("this host is not as before".into());
    }
    stage.holds("192.0.2.77")
}

/// It finds the chains that are there, and what it leaves alone stays.
fn present_rules() -> Outcome {
    let stage = Stage::build()?;
    let script = "#!/bin/sh\nset -e\niptables -C INPUT -s 192.0.2.0/24 -j OWN\n\
                  nft list table inet own >/dev/null\n\
                  iptables -I OWN -d 192.0.2.77 -j RETURN\n\
                  nft -f - <<X\ntable inet extra { chain in { type filter hook input priority 5; ip saddr 192.0.2.78 drop; }; }\nX\n";
    let said = stage.rehearse(script, &[])?.ends(Some(4))?;
    let changes = said.lines().filter(|line| line.starts_with("change: "));
    let changes: Vec<&str> = changes.collect();
    let expected = [
        "change: adds table inet extra",
        "change: changes table ip filter: changes chain OWN",
    ];
    if changes != expected {
        return Err(format!("other changes:\n{}", changes.join("\n")).into());
    }
    stage.is_as_before()?;
    stage.rehearse(script, &["--yes"])?.ends(Some(0))?;
    stage.holds("192.0.2.77")
}

fn endless() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.rehearse("#!/bin/sh\nwhile :; do sleep 1; done\n", &["--yes"])?;
    let said = run.ends(Some(2))?;
    tells(
        &said,
        &["not come to an end in 20 s", "nothing was touched"],
    )?;
    stage.is_as_before()
}
