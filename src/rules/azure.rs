//! Microsoft Azure: a shell script of `az network nsg rule create`.

use std::fmt::Write as _;

use super::flows::{Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use super::{Dialect, Egress};

/// The script.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let header = header(
        "# ",
        Dialect::Azure,
        &words(lockdown.is_some()),
        egress,
        lockdown,
    );
    let flows = flows(egress, lockdown.is_some());
    let mut rules = String::new();
    for flow in &flows {
        rule(&mut rules, flow);
    }
    let inbound = lockdown.map_or("", |_| INBOUND);
    let close = lockdown.map_or_else(String::new, |lockdown| close(&lockdown.ssh));
    format!("#!/bin/sh\n{header}\nset -eu\n{BEGIN}{inbound}\n{rules}{close}")
}

const BEGIN: &str = "\
: \"${RESOURCE_GROUP:?names the resource group of the network security group}\"
: \"${NSG:?names the network security group}\"
PRIORITY=\"${PRIORITY:-1000}\"

# slot DIRECTION NAME: the priority that the rule has, else the first from PRIORITY on that none has.
slot() {
    rules=$(az network nsg rule list --resource-group \"$RESOURCE_GROUP\" --nsg-name \"$NSG\" \\
        --query \"[?direction=='$1'].[name,priority]\" --output tsv)
    own='' used=' '
    while read -r name priority; do
        [ \"$name\" != \"$2\" ] || own=$priority
        used=\"$used$priority \"
    done <<RULES
$rules
RULES
    free=$PRIORITY
    while :; do
        case $used in
        *\" $free \"*) free=$((free+1)) ;;
        *) break ;;
        esac
    done
    echo \"${own:-$free}\"
}

# outbound NAME PRIORITY ACCESS PROTOCOL PORT DESCRIPTION PREFIX...: makes the rule, or renews it; - is for
# the priority that it has, or a free one.
outbound() {
    name=$1 priority=$2 access=$3 protocol=$4 port=$5 description=$6
    [ \"$priority\" != - ] || priority=$(slot Outbound \"$name\")
    shift 6
    az network nsg rule create --resource-group \"$RESOURCE_GROUP\" --nsg-name \"$NSG\" \\
        --name \"$name\" --priority \"$priority\" --direction Outbound --access \"$access\" \\
        --protocol \"$protocol\" --source-address-prefixes '*' --source-port-ranges '*' \\
        --destination-address-prefixes \"$@\" --destination-port-ranges \"$port\" \\
        \"--description=$description\" --output none
}
";

const INBOUND: &str = "
# inbound NAME PRIORITY ACCESS PROTOCOL PORT DESCRIPTION PREFIX...: makes the rule, or renews it; - is for
# the priority that it has, or a free one.
inbound() {
    name=$1 priority=$2 access=$3 protocol=$4 port=$5 description=$6
    [ \"$priority\" != - ] || priority=$(slot Inbound \"$name\")
    shift 6
    az network nsg rule create --resource-group \"$RESOURCE_GROUP\" --nsg-name \"$NSG\" \\
        --name \"$name\" --priority \"$priority\" --direction Inbound --access \"$access\" \\
        --protocol \"$protocol\" --source-address-prefixes \"$@\" --source-port-ranges '*' \\
        --destination-address-prefixes '*' --destination-port-ranges \"$port\" \\
        \"--description=$description\" --output none
}
";

/// In characters, of a rule's description.
const LONGEST_DESCRIPTION: usize = 140;

/// The families have rules of their own, because one rule must not mix them.
fn rule(text: &mut String, flow: &Flow<'_>) {
    text.push_str(&flow.remarks("# "));
    let protocol = match flow.entry.protocol() {
        "tcp" => "Tcp",
        _ => "Udp",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "outbound {} - Allow {protocol} {} \\\n    '{}' \\\n    {}",
        flow.name,
        flow.entry.port,
        flow.label(LONGEST_DESCRIPTION),
        flow.cidrs().join(" \\\n    ")
    );
}

/// The denials come last. 4096 is the last priority before the rules that every group has.
fn close(ssh: &Ssh) -> String {
    let from: Vec<_> = ssh.from.iter().map(ToString::to_string).collect();
    let (v6, v4): (Vec<_>, Vec<_>) = from.into_iter().partition(|cidr| cidr.contains(':'));
    let everybody = vec!["'*'".to_owned()];
    let sources = match (v4.is_empty(), v6.is_empty()) {
        (true, true) => vec![("", everybody)],
        (false, true) => vec![("-ipv4", v4)],
        (true, false) => vec![("-ipv6", v6)],
        (false, false) => vec![("-ipv4", v4), ("-ipv6", v6)],
    };
    let mut text = "outbound tunnelcheck-ntp - Allow Udp 123 'NTP' '*'\n".to_owned();
    for port in &ssh.ports {
        for (family, prefixes) in &sources {
            let _ = writeln!(
                text,
                "inbound tunnelcheck-ssh-{port}{family} - Allow Tcp {port} 'SSH' {}",
                prefixes.join(" ")
            );
        }
    }
    text.push_str(
        "\n# Everything else, last of all.\n\
         inbound tunnelcheck-deny-in 4096 Deny '*' '*' 'everything else' '*'\n\
         outbound tunnelcheck-deny-out 4096 Deny '*' '*' 'everything else' '*'\n",
    );
    text
}

fn words(closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("RESOURCE_GROUP=mine NSG=cloudflared-nsg sh FILE"),
        Advice::text(
            "The rules get the first free priorities of their direction, from PRIORITY on (1000 unless \
             set). A rule that denies with a smaller priority comes before them. A second run renews rules \
             of the same name and keeps their priorities. Rules for hosts that are no longer on the list \
             stay. To remove a rule:",
        ),
        Advice::command(
            "az network nsg rule delete --resource-group mine --nsg-name cloudflared-nsg --name NAME",
        ),
        Advice::text(
            "IPv4 and IPv6 have separate rules, because one rule must not mix them. Security groups are \
             stateful, so replies need no rules. If both the subnet and the network interface have a \
             group, both must let the traffic out. Azure's own resolver and DHCP (168.63.129.16) are not \
             filtered unless a rule names their service tags.",
        ),
    ];
    if closed {
        apply.push(Advice::text(
            "Rules with priorities below 4096 that allow something still allow it. The rule that denies \
             inbound traffic also stops other machines of the virtual network and load balancer probes, \
             which groups let in by default. Flow logs show what is dropped. Without --ssh-from the rule \
             for SSH lets in everyone, which may be more than now.",
        ));
    } else {
        apply.push(Advice::text(
            "Every group lets machines out to the internet (AllowInternetOutBound, 65001); these rules matter once a rule denies that (--lockdown adds it last).",
        ));
    }
    Words {
        what: "a shell script for the az command line",
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
}
