//! A table to paste into a ticket: one row for each address, port and protocol (RFC 4180).
//!
//! It has no comments, because a table has none: what else there is to say goes to standard error.

use super::lockdown::{Lockdown, Sources};
use super::{Egress, Entry};
use crate::model::{Family, Requirement};

/// The names of the columns of `--format csv`.
pub const COLUMNS: [&str; 12] = [
    "direction",
    "action",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "host",
    "sni",
    "requirement",
    "service",
    "reason",
];

/// The table.
pub(super) fn render(egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let mut text = row(&COLUMNS);
    for entry in &egress.entries {
        entry_rows(&mut text, entry);
    }
    if let Some(lockdown) = lockdown {
        own_needs(&mut text, lockdown);
    }
    text
}

fn entry_rows(text: &mut String, entry: &Entry) {
    let names: Vec<_> = entry.server_names.iter().map(ToString::to_string).collect();
    let names = names.join(" ");
    let requirement = match entry.requirement {
        Requirement::Required => "required",
        Requirement::Optional => "optional",
    };
    for address in entry.addresses.iter().filter(|a| !a.ip.is_loopback()) {
        let remark = address.origin.remark().map(|words| format!("; {words}"));
        let reason = format!("{}{}", entry.reason, remark.unwrap_or_default());
        text.push_str(&row(&[
            "out",
            "permit",
            entry.protocol(),
            "any",
            "any",
            &address.ip.to_string(),
            &entry.port.to_string(),
            entry.host.as_str(),
            &names,
            requirement,
            &entry.purpose.to_string(),
            &reason,
        ]));
    }
}

/// What a host needs besides, and the rule that closes everything else.
fn own_needs(text: &mut String, lockdown: &Lockdown) {
    let mut add = |flow: [&str; 7], service: &str, reason: &str| {
        let [direction, action, protocol, source, source_port, to, port] = flow;
        let cells = [
            direction,
            action,
            protocol,
            source,
            source_port,
            to,
            port,
            "",
            "",
            "required",
            service,
            reason,
        ];
        text.push_str(&row(&cells));
    };
    for (flow, service, reason) in OWN_NEEDS {
        add(*flow, service, reason);
    }
    let ssh = &lockdown.ssh;
    for port in &ssh.ports {
        let port = port.to_string();
        for family in Family::BOTH {
            let sources = ssh.sources(family);
            // Once for both families.
            if sources == Sources::Everybody && family == Family::Ipv6 {
                continue;
            }
            for source in sources.words("any") {
                let flow = ["in", "permit", "tcp", &source, "any", "any", &port];
                add(flow, "ssh", "the administrator's way in");
            }
        }
    }
    for direction in ["in", "out"] {
        let flow = [direction, "deny", "any", "any", "any", "any", "any"];
        add(
            flow,
            "",
            "everything else; replies to permitted traffic pass",
        );
    }
}

/// The flow is in the order of the columns.
const OWN_NEEDS: &[([&str; 7], &str, &str)] = &[
    (
        ["out", "permit", "udp", "any", "any", "any", "123"],
        "ntp",
        "a wrong clock breaks TLS",
    ),
    (
        ["out", "permit", "udp", "any", "68", "any", "67"],
        "dhcp",
        "this host's IPv4 address",
    ),
    (
        ["in", "permit", "udp", "any", "67", "any", "68"],
        "dhcp",
        "this host's IPv4 address",
    ),
    (
        ["out", "permit", "udp", "any", "546", "any", "547"],
        "dhcpv6",
        "this host's IPv6 address",
    ),
    (
        ["in", "permit", "udp", "any", "547", "any", "546"],
        "dhcpv6",
        "this host's IPv6 address",
    ),
    (
        ["out", "permit", "icmp", "any", "any", "any", "any"],
        "icmp",
        "errors: types 3, 11 and 12",
    ),
    (
        ["in", "permit", "icmp", "any", "any", "any", "any"],
        "icmp",
        "errors: types 3, 11 and 12",
    ),
    (
        ["out", "permit", "icmpv6", "any", "any", "any", "any"],
        "icmpv6",
        "what IPv6 needs (RFC 4890): types 1 to 4 and 128 to 136, 143",
    ),
    (
        ["in", "permit", "icmpv6", "any", "any", "any", "any"],
        "icmpv6",
        "what IPv6 needs (RFC 4890): types 1 to 4 and 128 to 136, 143",
    ),
];

fn row(cells: &[&str]) -> String {
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell that begins like a formula is one to a spreadsheet, whatever its quotes.
fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
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
        insta::assert_snapshot!(render(&samples::http2_ipv4(), Some(&samples::narrow())));
    }

    /// Read back by a reader of somebody else's.
    #[test]
    fn every_address_has_its_row() {
        let egress = samples::whole();
        let text = render(&egress, None);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), COLUMNS.as_slice());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let mut rows = rows.iter();
        for entry in &egress.entries {
            for address in &entry.addresses {
                let row = rows.next().unwrap();
                let flow = [&row[2], &row[5], &row[6], &row[7]];
                let (ip, port) = (address.ip.to_string(), entry.port.to_string());
                assert_eq!(flow, [entry.protocol(), &ip, &port, entry.host.as_str()]);
            }
        }
        assert_eq!(rows.next(), None);
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        assert_eq!(cell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(cell("-x.example"), "'-x.example");
        assert_eq!(cell("=1,2"), "\"'=1,2\"");
    }
}
