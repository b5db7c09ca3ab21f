//! Amazon EC2: a shell script of `aws ec2 authorize-security-group-egress`.

use std::fmt::Write as _;

use super::flows::{FAMILIES, Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use super::{Dialect, Egress};
use crate::model::Family;

/// The script.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let flows = flows(egress, lockdown.is_some());
    let words = words(&flows, lockdown.is_some());
    let header = header("# ", Dialect::Aws, &words, egress, lockdown);
    let rules: String = flows.iter().map(rule).collect();
    let close = lockdown.map_or_else(String::new, |lockdown| close(&lockdown.ssh));
    let revoke = lockdown.map_or("", |_| REVOKE);
    format!("#!/bin/sh\n{header}\nset -eu\n{BEGIN}{revoke}\n{rules}{close}")
}

/// The service refuses a whole list for one rule that is there already, so that a second run has to
/// offer the rules one by one.
const BEGIN: &str = r#": "${GROUP_ID:?names the security group, such as sg-0123456789abcdef0}"

# permission PROTOCOL PORT DESCRIPTION CIDR...: the rule as JSON.
permission() {
    protocol=$1 port=$2 description=$3 v4='' v6=''
    shift 3
    for cidr; do
        case $cidr in
        *:*) v6="$v6${v6:+,}{\"CidrIpv6\":\"$cidr\",\"Description\":\"$description\"}" ;;
        *) v4="$v4${v4:+,}{\"CidrIp\":\"$cidr\",\"Description\":\"$description\"}" ;;
        esac
    done
    printf '[{"IpProtocol":"%s","FromPort":%s,"ToPort":%s,"IpRanges":[%s],"Ipv6Ranges":[%s]}]' \
        "$protocol" "$port" "$port" "$v4" "$v6"
}

# authorize DIRECTION PERMISSION: adds a rule; fails if it exists already.
authorize() {
    if answer=$(aws ec2 "authorize-security-group-$1" --group-id "$GROUP_ID" \
        --ip-permissions "$2" 2>&1); then
        return 0
    fi
    case $answer in
    *InvalidPermission.Duplicate*) return 1 ;;
    esac
    printf '%s\n' "$answer" >&2
    exit 1
}

# add DIRECTION PROTOCOL PORT DESCRIPTION CIDR...: adds the missing rules.
add() {
    direction=$1 protocol=$2 port=$3 description=$4
    shift 4
    if authorize "$direction" "$(permission "$protocol" "$port" "$description" "$@")"; then
        return 0
    fi
    [ "$#" -gt 1 ] || return 0
    for one; do
        authorize "$direction" "$(permission "$protocol" "$port" "$description" "$one")" || :
    done
}

allow() { add egress "$@"; }
"#;

const REVOKE: &str = r#"ingress() { add ingress "$@"; }

# revoke PERMISSION: removes a rule that lets everything out, if there is one.
revoke() {
    if answer=$(aws ec2 revoke-security-group-egress --group-id "$GROUP_ID" \
        --ip-permissions "$1" 2>&1); then
        return 0
    fi
    case $answer in
    *InvalidPermission.NotFound*) return 0 ;;
    esac
    printf '%s\n' "$answer" >&2
    exit 1
}
"#;

fn rule(flow: &Flow<'_>) -> String {
    let mut text = flow.remarks("# ");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "allow {} {} '{}' \\\n    {}",
        flow.entry.protocol(),
        flow.entry.port,
        flow.label(LONGEST_DESCRIPTION),
        flow.cidrs().join(" \\\n    ")
    );
    text
}

/// In characters, of a rule's description.
const LONGEST_DESCRIPTION: usize = 255;

/// What lets everything out is removed last: until then nothing changes for anybody.
fn close(ssh: &Ssh) -> String {
    let mut text = String::from("allow udp 123 'NTP' 0.0.0.0/0 ::/0\n");
    let of = |(family, everywhere, _): &(Family, &str, _)| ssh.sources(*family).words(everywhere);
    let from: Vec<String> = FAMILIES.iter().flat_map(of).collect();
    for port in &ssh.ports {
        let _ = writeln!(text, "ingress tcp {port} 'SSH' {}", from.join(" "));
    }
    text.push_str(
        r#"
# The rules that every new group has, last of all.
revoke '[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]'
revoke '[{"IpProtocol":"-1","Ipv6Ranges":[{"CidrIpv6":"::/0"}]}]'
"#,
    );
    text
}

/// Rules that a group may have in one direction and family, unless a higher quota was asked for.
const QUOTA: usize = 60;

fn count(flows: &[Flow<'_>], family: Family, closed: bool) -> usize {
    let of_family = flows.iter().filter(|flow| flow.family == family);
    of_family.map(|flow| flow.addresses.len()).sum::<usize>() + usize::from(closed)
}

fn quota(flows: &[Flow<'_>], closed: bool) -> String {
    let [v4, v6] = Family::BOTH.map(|family| count(flows, family, closed));
    let advice = if v4.max(v6) > QUOTA {
        "  That is too much for one group: ask for a higher quota (Service Quotas, `Inbound or outbound \
         rules per security group`). Or leave out what you do not need with --protocol, --edge-ip-version \
         or --no-optional."
    } else {
        ""
    };
    format!(
        "These are {v4} rules for IPv4 and {v6} for IPv6. The usual quota of a group is {QUOTA} of each, \
         including the rules that it has already.{advice}"
    )
}

fn words(flows: &[Flow<'_>], closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("GROUP_ID=sg-0123456789abcdef0 sh FILE"),
        Advice::Text(quota(flows, closed)),
        Advice::text(
            "A second run adds missing rules and removes none. To remove a rule, take its id from the list:",
        ),
        Advice::command(
            "aws ec2 describe-security-group-rules --filters Name=group-id,Values=GROUP_ID > group.json",
        ),
        Advice::command(
            "aws ec2 revoke-security-group-egress --group-id GROUP_ID --security-group-rule-ids sgr-ID",
        ),
        Advice::text(
            "The list can also be compared with today's needs: `--check-drift group.json`. Security groups \
             are stateful, so replies need no rules; network ACLs are stateless and apply in addition. \
             Traffic of Amazon's own resolver, time service and DHCP is never filtered.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "The rules that let everything out are removed last. Groups only allow: what other rules of \
             this group or other groups of the same machine let in or out stays allowed. Without \
             --ssh-from the rule for SSH lets in everyone, which may be more than now.",
        ));
    } else {
        apply.push(Advice::text(
            "A new group lets everything out; these rules matter once that rule is gone (--lockdown removes it last).",
        ));
    }
    Words {
        what: "a shell script for the aws command line",
        apply,
        permanent: vec![Advice::text("nothing to do: the group keeps its rules.")],
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
    fn too_many_rules_are_told() {
        assert!(!render(&samples::whole(), None).contains("too much for one group"));
        let mut egress = samples::whole();
        let entries = egress.entries.clone();
        egress.entries.extend(entries);
        assert!(render(&egress, None).contains("too much for one group"));
    }
}
