//! pf of FreeBSD, OpenBSD and macOS: a file for an anchor.

use std::fmt::Write as _;

use super::flows::{Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use super::text::comment;
use super::{Dialect, Egress};

/// The file.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Pf,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let flows = flows(egress, lockdown.is_some());
    let mut tables = String::new();
    let mut rules = String::new();
    for (number, flow) in flows.iter().enumerate() {
        let name = format!("tunnelcheck_{}", number + 1);
        tables.push_str(&table(&name, flow));
        let (protocol, port) = (flow.entry.protocol(), flow.entry.port);
        // Writing to a string cannot fail.
        let _ = writeln!(
            rules,
            "pass out quick proto {protocol} from any to <{name}> port {port} keep state"
        );
    }
    match lockdown {
        None => format!("{header}\n{tables}\n{rules}"),
        Some(lockdown) => format!(
            "{header}\n{tables}\n{}{rules}\n{CLOSE}",
            own_needs(&lockdown.ssh)
        ),
    }
}

/// Lines are joined by a backslash, which every pf takes.
fn table(name: &str, flow: &Flow<'_>) -> String {
    let addresses: Vec<_> = flow
        .addresses
        .iter()
        .map(|a| format!("    {}", a.ip))
        .collect();
    format!(
        "{}{}table <{name}> {{ \\\n{} }}\n",
        comment("# ", &flow.label(200)),
        flow.remarks("# "),
        addresses.join(", \\\n")
    )
}

/// The rules for SSH keep no state, so that sessions that are older than the rules go on.
fn own_needs(ssh: &Ssh) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let ports = list(ssh.ports.iter().map(ToString::to_string).collect());
    let from = match ssh.from.as_slice() {
        [] => "any".to_owned(),
        some => format!(
            "{{ {} }}",
            list(some.iter().map(ToString::to_string).collect())
        ),
    };
    format!(
        "pass quick on lo0 all\n\
         pass in quick proto tcp from {from} to any port {{ {ports} }} flags any no state\n\
         pass out quick proto tcp from any port {{ {ports} }} to any flags A/A no state\n\
         {OWN_NEEDS}"
    )
}

/// The types of `ICMPv6` are those that RFC 4890 (sections 4.3 and 4.4) wants kept; they have no state,
/// because neighbours ask and answer from different addresses.
const OWN_NEEDS: &str = "\
pass quick inet proto icmp icmp-type { 3, 11, 12 } no state
pass quick inet6 proto ipv6-icmp icmp6-type { 1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, \\
    136, 143 } no state
pass out quick inet proto udp from any port 68 to any port 67 no state
pass in quick inet proto udp from any port 67 to any port 68 no state
pass out quick inet6 proto udp from fe80::/10 port 546 to any port 547 no state
pass in quick inet6 proto udp from fe80::/10 port 547 to any port 546 no state
pass out quick proto udp from any to any port 123 keep state
";

const CLOSE: &str = "\
# Everything else. `pfctl -a tunnelcheck -vs rules` shows how much that was.
block drop quick all
";

fn words(closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("pfctl -n -f FILE && pfctl -a tunnelcheck -f FILE && pfctl -e"),
        Advice::text(
            "The anchor has to be named in the main rules (/etc/pf.conf), once: the first line of the rules, before what blocks, followed by `pfctl -f /etc/pf.conf`.",
        ),
        Advice::command("anchor \"tunnelcheck\""),
        Advice::text(
            "On macOS the main rules name `com.apple/*` already: `pfctl -a com.apple/tunnelcheck -f FILE` needs no change to them. To remove the rules:",
        ),
        Advice::command("pfctl -a tunnelcheck -F all"),
        Advice::text(
            "A second run replaces the anchor as a whole. The rules are `quick`: nothing that follows them undoes them.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "pf also filters what this host forwards for jails and virtual machines. If there are such, \
             name their interfaces before the last rule. Existing states stay, so open flows continue: \
             check with new ones.",
        ));
    }
    Words {
        what: "a file for an anchor of pf (FreeBSD, OpenBSD, macOS)",
        apply,
        permanent: vec![
            Advice::command("install -m 0600 FILE /etc/pf.tunnelcheck.conf"),
            Advice::text("and in /etc/pf.conf behind the line with the anchor:"),
            Advice::command("load anchor \"tunnelcheck\" from \"/etc/pf.tunnelcheck.conf\""),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{hostile, samples};
    use super::*;

    #[test]
    fn accepts() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::narrow())));
    }

    /// No pfctl is there to read the file: each line that is no comment is one of the forms of
    /// pf.conf(5) that this dialect uses.
    #[test]
    fn the_file_is_well_formed() {
        for file in [
            render(&samples::whole(), Some(&samples::lockdown())),
            render(&hostile::egress(), Some(&samples::narrow())),
            render(&samples::drifted(), None),
        ] {
            let joined = file.replace("\\\n", " ");
            let lines = joined
                .lines()
                .filter(|l| !l.is_empty() && !l.starts_with('#'));
            let lines: Vec<_> = lines.collect();
            let first_rule = lines.iter().position(|l| !l.starts_with("table")).unwrap();
            for (at, line) in lines.iter().enumerate() {
                let form = [
                    "table <tunnelcheck_",
                    "pass quick ",
                    "pass in quick ",
                    "pass out quick ",
                ];
                let last = *line == "block drop quick all" && at == lines.len() - 1;
                assert!(
                    last || form.iter().any(|form| line.starts_with(form)),
                    "{line}"
                );
                assert_eq!(
                    line.starts_with("table"),
                    at < first_rule,
                    "tables come first: {line}"
                );
                assert_eq!(
                    line.matches('{').count(),
                    line.matches('}').count(),
                    "{line}"
                );
                assert!(
                    line.bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b" _<>{},.:/-".contains(&b)),
                    "{line}"
                );
            }
            for (_, name) in joined
                .match_indices("to <")
                .map(|(at, _)| (at, &joined[at + 3..]))
            {
                let name = &name[..=name.find('>').unwrap()];
                assert_eq!(
                    joined.matches(&format!("table {name}")).count(),
                    1,
                    "{name}"
                );
            }
        }
    }
}
