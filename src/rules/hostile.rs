//! What a resolver that means harm would have printed, for tests.

use proptest::prelude::*;

use super::text::HostName;
use super::{Address, Egress, Entry, Origin, Purpose, samples};
use crate::model::{Requirement, Transport};

/// Names that try to leave their quotes, and one of the greatest length.
pub(crate) fn egress() -> Egress {
    let mut egress = samples::whole();
    let names = [
        "$(reboot).example",
        "a\nrm -rf /",
        "\"'`;|&\\.example",
        "-e.example",
        "=1+1",
        &"long.".repeat(60),
        &"long.".repeat(61),
        "${IFS}",
        "}{.example",
        "",
    ];
    let others = egress.entries.split_off(4);
    for (mut entry, name) in others.into_iter().cycle().zip(names) {
        entry.host = HostName::sanitised(name);
        entry.server_names = vec![HostName::sanitised(name)];
        egress.entries.push(entry);
    }
    egress
}

/// Anything that has to be let out: any names, ports and addresses.
pub(crate) fn any_egress() -> impl Strategy<Value = Egress> {
    let entries = proptest::collection::vec(any_entry(), 1..6);
    entries.prop_map(|entries| Egress {
        entries,
        notes: Vec::new(),
        without_a_rule: None,
        ..samples::whole()
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let addresses = proptest::collection::btree_set(any::<std::net::IpAddr>(), 0..5);
    let purpose = prop_oneof![
        Just(Purpose::Quic),
        Just(Purpose::Http2),
        Just(Purpose::Https),
        Just(Purpose::DnsOverTls),
        Just(Purpose::Dns),
    ];
    let host = prop_oneof![any::<String>(), "[a-z]{1,9}\\.example"];
    (
        host,
        any::<bool>(),
        1_u16..,
        purpose,
        any::<bool>(),
        addresses,
    )
        .prop_map(|(host, tcp, port, purpose, required, addresses)| Entry {
            host: HostName::sanitised(&host),
            transport: if tcp { Transport::Tcp } else { Transport::Udp },
            port,
            purpose,
            requirement: if required {
                Requirement::Required
            } else {
                Requirement::Optional
            },
            server_names: vec![HostName::sanitised(&host)],
            reason: "a reason, with a comma".to_owned(),
            addresses: addresses
                .into_iter()
                .map(|ip| Address {
                    ip: ip.to_canonical(),
                    origin: Origin::NotDocumented,
                })
                .collect(),
        })
}
