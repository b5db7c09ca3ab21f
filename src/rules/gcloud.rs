//! Google Cloud: a shell script of `gcloud compute firewall-rules`.

use std::fmt::Write as _;

use super::flows::{FAMILIES, Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use super::{Dialect, Egress};

/// The script.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Gcloud,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let flows = flows(egress, lockdown.is_some());
    let mut rules = String::new();
    for flow in &flows {
        rule(&mut rules, flow);
    }
    let (begin, close) = match lockdown {
        None => (BEGIN_OPEN, String::new()),
        Some(lockdown) => (BEGIN_CLOSED, close(&lockdown.ssh)),
    };
    let ingress = lockdown.map_or("", |_| INGRESS);
    format!("#!/bin/sh\n{header}\nset -eu\n{begin}{EGRESS}{ingress}\n{rules}{close}")
}

const BEGIN_OPEN: &str = "\
NETWORK=\"${NETWORK:-default}\"
TARGET_TAGS=\"${TARGET_TAGS:-}\"
";

/// Without tags the rules would close every machine of the network.
const BEGIN_CLOSED: &str = "\
NETWORK=\"${NETWORK:-default}\"
TARGET_TAGS=\"${TARGET_TAGS:?names the network tags of the machines that are to be closed}\"
";

const EGRESS: &str = "
# there NAME: the network of the rule, or nothing if there is no such rule.
there() {
    gcloud compute firewall-rules describe \"$1\" --format='value(network.basename())' 2>/dev/null || :
}

# egress NAME ACTION PRIORITY PROTOCOL:PORT RANGES DESCRIPTION: makes the rule, or renews it.
egress() {
    network=$(there \"$1\")
    case $network in
    '')
        gcloud compute firewall-rules create \"$1\" --network=\"$NETWORK\" \\
            --direction=EGRESS --action=\"$2\" --priority=\"$3\" --rules=\"$4\" \\
            --destination-ranges=\"$5\" --description=\"$6\" \\
            ${TARGET_TAGS:+\"--target-tags=$TARGET_TAGS\"}
        ;;
    \"${NETWORK##*/}\")
        gcloud compute firewall-rules update \"$1\" --priority=\"$3\" --rules=\"$4\" \\
            --destination-ranges=\"$5\" --description=\"$6\" \\
            \"--target-tags=$TARGET_TAGS\"
        ;;
    *)
        echo \"$1 is a rule of the network $network: remove it first, or set NETWORK\" >&2
        exit 1
        ;;
    esac
}
";

const INGRESS: &str = "
# ingress NAME ACTION PRIORITY PROTOCOL:PORT RANGES DESCRIPTION: makes the rule, or renews it.
ingress() {
    network=$(there \"$1\")
    case $network in
    '')
        gcloud compute firewall-rules create \"$1\" --network=\"$NETWORK\" \\
            --direction=INGRESS --action=\"$2\" --priority=\"$3\" --rules=\"$4\" \\
            --source-ranges=\"$5\" --description=\"$6\" \\
            ${TARGET_TAGS:+\"--target-tags=$TARGET_TAGS\"}
        ;;
    \"${NETWORK##*/}\")
        gcloud compute firewall-rules update \"$1\" --priority=\"$3\" --rules=\"$4\" \\
            --source-ranges=\"$5\" --description=\"$6\" \\
            \"--target-tags=$TARGET_TAGS\"
        ;;
    *)
        echo \"$1 is a rule of the network $network: remove it first, or set NETWORK\" >&2
        exit 1
        ;;
    esac
}
";

/// The most ranges that one rule has had room for at any time; today's limit is higher.
const MOST_RANGES: usize = 256;

/// The families have rules of their own, because one rule must not mix them.
fn rule(text: &mut String, flow: &Flow<'_>) {
    text.push_str(&flow.remarks("# "));
    for (number, ranges) in flow.cidrs().chunks(MOST_RANGES).enumerate() {
        let more = match number {
            0 => String::new(),
            more => format!("-{more}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "egress {}{more} ALLOW 1000 {}:{} \\\n    {} \\\n    '{}'",
            flow.name,
            flow.entry.protocol(),
            flow.entry.port,
            ranges.join(","),
            flow.label(200)
        );
    }
}

/// The denials come last. 65534 is the last priority before the implied rules.
fn close(ssh: &Ssh) -> String {
    let mut text = String::from(
        "egress tunnelcheck-ntp-ipv4 ALLOW 1000 udp:123 0.0.0.0/0 'NTP'\n\
         egress tunnelcheck-ntp-ipv6 ALLOW 1000 udp:123 ::/0 'NTP'\n",
    );
    let ports: Vec<_> = ssh.ports.iter().map(|port| format!("tcp:{port}")).collect();
    for (family, everywhere, name) in FAMILIES {
        let from = ssh.sources(*family).words(everywhere);
        if from.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "ingress tunnelcheck-ssh-{name} ALLOW 1000 {} {} 'SSH'",
            ports.join(","),
            from.join(",")
        );
    }
    text.push_str("\n# Everything else, last of all.\n");
    for direction in ["ingress", "egress"] {
        for (_, everywhere, name) in FAMILIES {
            let _ = writeln!(
                text,
                "{direction} tunnelcheck-deny-{direction}-{name} DENY 65534 all {everywhere} 'everything else'"
            );
        }
    }
    text
}

fn words(closed: bool) -> Words {
    let run = if closed {
        "NETWORK=default TARGET_TAGS=cloudflared sh FILE   # TARGET_TAGS is a must"
    } else {
        "NETWORK=default TARGET_TAGS=cloudflared sh FILE"
    };
    let mut apply = vec![
        Advice::command(run),
        Advice::text(
            "The rules are for the machines with one of these network tags, without TARGET_TAGS for all machines of the network. A second run renews the rules and puts them on the tags that it is given, so name all of them at once: TARGET_TAGS=a,b. Rules for hosts that are no longer on the list stay. To remove all of them:",
        ),
        Advice::command(
            "gcloud compute firewall-rules list --filter='name~^tunnelcheck-' --format='value(name)' | xargs gcloud compute firewall-rules delete --quiet",
        ),
        Advice::text(
            "IPv4 and IPv6 have rules of their own, because one rule must not mix them, and no rule has more than 256 ranges. VPC firewall rules keep track of connections, so that answers need no rules. DNS, DHCP, NTP and metadata of the metadata server (169.254.169.254) are never filtered. Rules of a smaller priority, and firewall policies of the organisation or folder, come first: list them with `gcloud compute networks get-effective-firewalls NETWORK`.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "The rules that deny have priority 65534: any rule that allows something with a smaller one goes on allowing it. Of two rules with the same priority the one that denies wins, so that they close what the rules of the default network open (`default-allow-*`). `--enable-logging` on the rules that deny shows what they drop. Without --ssh-from the rule for SSH lets in everybody, which may be more than now.",
        ));
    }
    Words {
        what: "a shell script for the gcloud command line",
        apply,
        permanent: vec![Advice::text("nothing to do: the network keeps its rules.")],
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn accepts() {
        insta::assert_snapshot!(render(&samples::drifted(), None));
    }

    #[test]
    fn a_lockdown() {
        insta::assert_snapshot!(render(&samples::whole(), Some(&samples::narrow())));
    }

    #[test]
    fn a_rule_has_room_for_its_ranges() {
        let mut egress = samples::http2_ipv4();
        let address = egress.entries[2].addresses[0];
        let many = (0..600_u32).map(|n| super::super::Address {
            ip: std::net::IpAddr::V4(n.into()),
            ..address
        });
        egress.entries[2].addresses = many.collect();
        let text = render(&egress, None);
        for line in text.lines().filter(|line| line.starts_with("    0.")) {
            assert!(line.matches(',').count() < MOST_RANGES);
        }
        assert_eq!(
            text.matches("/32").count(),
            600 + egress.entries[3].addresses.len()
        );
    }
}
