//! Windows: a script of `New-NetFirewallRule` for `PowerShell` 5.1 and newer.

use std::fmt::Write as _;

use super::flows::{Flow, flows};
use super::header::{Advice, Words, header};
use super::lockdown::{Lockdown, Ssh};
use super::{Dialect, Egress};

/// The script. All of it is ASCII, because `PowerShell` 5.1 reads a file without a mark as ANSI.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let words = words(lockdown.is_some());
    let header = header("# ", Dialect::Windows, &words, egress, lockdown);
    let flows = flows(egress, lockdown.is_some());
    let rules: String = flows.iter().map(rule).collect();
    let host = lockdown.map_or_else(String::new, |lockdown| own_needs(&lockdown.ssh));
    let close = lockdown.map_or("", |_| CLOSE);
    format!("{header}\n{BEGIN}\n{host}{rules}\n{END}{close}")
}

const BEGIN: &str = "\
#Requires -Version 5.1
#Requires -RunAsAdministrator
$ErrorActionPreference = 'Stop'
$group = 'tunnelcheck'

# The rules of an earlier run, which stay until the new ones exist.
$old = @(Get-NetFirewallRule -Group $group -ErrorAction SilentlyContinue)
";

const END: &str = "\
# The new rules exist.
if ($old) { $old | Remove-NetFirewallRule }
";

const CLOSE: &str = "
# Last of all: what no rule lets through is dropped, and logged in
# %SystemRoot%\\System32\\LogFiles\\Firewall\\pfirewall.log.
Set-NetFirewallProfile -All -Enabled True -DefaultInboundAction Block `
    -DefaultOutboundAction Block -LogBlocked True
";

fn rule(flow: &Flow<'_>) -> String {
    let mut text = flow.remarks("# ");
    let protocol = flow.entry.protocol().to_uppercase();
    let port = flow.entry.port;
    let addresses: Vec<_> = flow
        .addresses
        .iter()
        .map(|a| format!("    '{}'", a.ip))
        .collect();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "New-NetFirewallRule -Group $group -DisplayName '{}' `\n    \
         -Description '{}' `\n    \
         -Direction Outbound -Action Allow -Profile Any `\n    \
         -Protocol {protocol} -RemotePort {port} -RemoteAddress @(\n{}\n) | Out-Null\n",
        flow.name,
        flow.label(200),
        addresses.join(",\n")
    );
    text
}

/// Whoever administers the host over RDP or `WinRM` while the script runs is not cut off. The zone of a
/// link-local address is nothing that a rule takes.
const SESSIONS: &str = "\
# RDP and WinRM for those who are connected at this moment.
Get-NetTCPConnection -State Established -ErrorAction SilentlyContinue |
    Where-Object { 3389, 5985, 5986 -contains $_.LocalPort } |
    ForEach-Object {
        New-NetFirewallRule -Group $group -DisplayName 'tunnelcheck-session' `
            -Direction Inbound -Action Allow -Profile Any -Protocol TCP `
            -LocalPort $_.LocalPort -RemoteAddress ($_.RemoteAddress -replace '%.*') | Out-Null
    }
";

/// What the host itself needs. What Windows has rules of its own for is let out a second time, since
/// those may have been switched off.
fn own_needs(ssh: &Ssh) -> String {
    let list = |items: &[String]| items.join(", ");
    let ports: Vec<_> = ssh.ports.iter().map(ToString::to_string).collect();
    let from: Vec<_> = ssh.from.iter().map(|cidr| format!("'{cidr}'")).collect();
    let from = match from.as_slice() {
        [] => "'Any'".to_owned(),
        some => list(some),
    };
    let mut text = format!(
        "New-NetFirewallRule -Group $group -DisplayName 'tunnelcheck-ssh' `\n    \
         -Direction Inbound -Action Allow -Profile Any `\n    \
         -Protocol TCP -LocalPort {} -RemoteAddress @({from}) | Out-Null\n{SESSIONS}",
        list(&ports)
    );
    for (name, direction, matches) in OWN_NEEDS {
        let _ = write!(
            text,
            "New-NetFirewallRule -Group $group -DisplayName 'tunnelcheck-{name}' `\n    \
             -Direction {direction} -Action Allow -Profile Any {matches} | Out-Null\n"
        );
    }
    text
}

/// The types of `ICMPv6` are those that RFC 4890 (sections 4.3 and 4.4) wants kept.
const OWN_NEEDS: &[(&str, &str, &str)] = &[
    ("ntp", "Outbound", "-Protocol UDP -RemotePort 123"),
    (
        "dhcp",
        "Outbound",
        "-Protocol UDP -LocalPort 68 -RemotePort 67",
    ),
    (
        "dhcp-in",
        "Inbound",
        "-Protocol UDP -LocalPort 68 -RemotePort 67",
    ),
    (
        "dhcpv6",
        "Outbound",
        "-Protocol UDP -LocalPort 546 -RemotePort 547",
    ),
    (
        "dhcpv6-in",
        "Inbound",
        "-Protocol UDP -LocalPort 546 -RemotePort 547",
    ),
    ("icmp", "Outbound", "-Protocol ICMPv4 -IcmpType 3, 11, 12"),
    ("icmp-in", "Inbound", "-Protocol ICMPv4 -IcmpType 3, 11, 12"),
    (
        "icmpv6",
        "Outbound",
        "-Protocol ICMPv6 -IcmpType 1, 2, 3, 4, 128, 129, 131, 132, 133, 135, 136, 143",
    ),
    (
        "icmpv6-in",
        "Inbound",
        "-Protocol ICMPv6 -IcmpType 1, 2, 3, 4, 128, 129, 130, 134, 135, 136",
    ),
];

fn words(closed: bool) -> Words {
    let mut apply = vec![
        Advice::command("powershell -ExecutionPolicy Bypass -File FILE.ps1"),
        Advice::text(
            "As an administrator. The rules belong to the group `tunnelcheck`; a second run puts new ones in their place, without a moment in between that has none. To remove them:",
        ),
    ];
    if closed {
        apply.push(Advice::command(
            "Set-NetFirewallProfile -All -DefaultOutboundAction Allow",
        ));
    }
    apply.extend([
        Advice::command("Remove-NetFirewallRule -Group tunnelcheck"),
        Advice::text(
            "They hold in all profiles (domain, private, public) and for all programs. The firewall keeps track of connections, so that answers need no rules. A rule that blocks outweighs them, wherever it comes from; Group Policy can switch local rules off (`Get-NetFirewallProfile -PolicyStore ActiveStore`, AllowLocalFirewallRules).",
        ),
    ]);
    if closed {
        apply.push(Advice::text(
            "Rules that allow something now go on allowing it, also those that Windows came with: `Get-NetFirewallRule -Direction Outbound -Action Allow -Enabled True` lists them. Windows counts no drops; the log has them.",
        ));
    }
    Words {
        what: "a script for PowerShell 5.1 or newer",
        apply,
        permanent: vec![Advice::text("nothing to do: Windows keeps its rules.")],
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

    /// Without arguments that cmdlet removes all rules of the host.
    #[test]
    fn nothing_but_the_own_group_is_ever_removed() {
        let script = render(&samples::whole(), Some(&samples::lockdown()));
        let removals: Vec<_> = script
            .lines()
            .filter(|line| line.contains("Remove-Net"))
            .collect();
        assert_eq!(
            removals,
            [
                "#     Remove-NetFirewallRule -Group tunnelcheck",
                "if ($old) { $old | Remove-NetFirewallRule }",
            ]
        );
    }

    /// No shell is there to read the script: quotes and brackets pair, lines that go on are followed
    /// by one, and nothing is expanded but the variables of the script.
    #[test]
    fn the_script_is_well_formed() {
        for script in [
            render(&samples::whole(), Some(&samples::lockdown())),
            render(&hostile::egress(), Some(&samples::narrow())),
        ] {
            assert!(script.is_ascii());
            let code: Vec<_> = script
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect();
            for (at, line) in code.iter().enumerate() {
                assert_eq!(line.matches('\'').count() % 2, 0, "{line}");
                assert!(!line.contains('"'), "{line}");
                let next = code.get(at + 1).copied().unwrap_or_default();
                assert!(
                    !line.ends_with('`') || next.trim_start().starts_with('-'),
                    "{line}"
                );
            }
            let code = code.join("\n");
            let count = |c: char| code.matches(c).count();
            assert_eq!((count('('), count('{')), (count(')'), count('}')));
            let known = ["group", "old", "ErrorActionPreference", "_"];
            for rest in code.split('$').skip(1) {
                let name = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let name = rest.split(name).next().unwrap_or_default();
                assert!(known.contains(&name), "${name}");
            }
        }
    }

    #[test]
    fn the_door_closes_last() {
        let script = render(&samples::whole(), Some(&samples::lockdown()));
        let close = script.find("\nSet-NetFirewallProfile").unwrap();
        assert!(!script[close..].contains("New-NetFirewallRule"));
        assert!(script.find("\nif ($old) { $old | Remove").unwrap() < close);
        assert!(!render(&samples::whole(), None).contains("\nSet-NetFirewallProfile"));
    }
}
