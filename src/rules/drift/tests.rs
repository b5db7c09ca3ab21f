mod managed;
mod packet_filters;

use std::collections::BTreeSet;

use clap::ValueEnum;
use proptest::prelude::*;

use super::*;
use crate::exit::ExitStatus;
use crate::rules::{Dialect, Egress, Purpose, Today, hostile, samples};

type Flows = BTreeSet<(IpAddr, Transport, u16)>;

/// What a dialect has rules for: pods do not ask the host's resolvers, and files for other machines
/// have no rules for the resolvers of this one unless they close everything.
fn expected(egress: &Egress, dialect: Dialect, closed: bool) -> Flows {
    let pods = matches!(dialect, Dialect::Kubernetes | Dialect::Cilium);
    let here = matches!(
        dialect,
        Dialect::Nftables | Dialect::Iptables | Dialect::Ufw | Dialect::Firewalld | Dialect::Csv
    );
    let mut flows = Flows::new();
    for entry in &egress.entries {
        if entry.purpose != Purpose::Dns || (!pods && (here || closed)) {
            let to = |ip| (ip, entry.transport, entry.port);
            flows.extend(entry.addresses.iter().map(|address| to(address.ip)));
        }
    }
    flows.retain(|(ip, ..)| !ip.is_loopback());
    flows
}

/// What was read, but for the rules to everywhere (NTP, DHCP) and to the local link (`DHCPv6`).
fn found(reading: &Reading) -> Flows {
    let local = |block: Block| {
        let text = block.to_string();
        text == "fe80::/10" || text == "ff02::1:2"
    };
    let permits = reading.permits();
    let aimed = permits
        .iter()
        .filter(|p| !p.block.is_everything() && !local(p.block));
    let flow = |permit: &Permit| {
        assert!(!permit.conditional, "{permit:?}");
        let Said::Only(transport) = permit.transport else {
            panic!("{permit:?}")
        };
        let Said::Only((port, last)) = permit.ports else {
            panic!("{permit:?}")
        };
        assert_eq!(port, last);
        (
            permit.block.to_string().parse::<IpAddr>().unwrap(),
            transport,
            port,
        )
    };
    aimed
        .map(flow)
        .filter(|(ip, ..)| !ip.is_loopback())
        .collect()
}

fn read_back(egress: &Egress, dialect: Dialect, closed: bool) -> Reading {
    let lockdown = samples::lockdown();
    let text = dialect.render(egress, closed.then_some(&lockdown));
    read(text.as_bytes()).unwrap_or_else(|why| panic!("{dialect:?}: {why}\n{text}"))
}

#[test]
fn what_every_dialect_prints_is_read_exactly() {
    for egress in [
        samples::whole(),
        samples::drifted(),
        samples::http2_ipv4(),
        hostile::egress(),
    ] {
        for dialect in Dialect::value_variants() {
            for closed in [false, true] {
                let reading = read_back(&egress, *dialect, closed);
                assert!(!reading.guessed, "{dialect:?} {closed}");
                assert!(reading.ours, "{dialect:?} {closed}");
                assert_eq!(
                    found(&reading),
                    expected(&egress, *dialect, closed),
                    "{dialect:?} {closed}"
                );
            }
        }
    }
}

/// What lets everything out would make the comparison worthless, in a lock-down above all.
#[test]
fn no_lockdown_is_read_as_open() {
    let elsewhere = "192.0.2.1".parse().unwrap();
    for dialect in Dialect::value_variants() {
        let reading = read_back(&samples::whole(), *dialect, true);
        for transport in [Transport::Tcp, Transport::Udp] {
            let fit = reading.fit(elsewhere, transport, 7844);
            assert_eq!(fit, Fit::No, "{dialect:?}");
        }
    }
}

#[test]
fn a_fresh_file_has_not_drifted() {
    for egress in [samples::whole(), samples::drifted(), samples::http2_ipv4()] {
        for dialect in Dialect::value_variants() {
            for closed in [false, true] {
                let drift = compare(&egress, &read_back(&egress, *dialect, closed), closed);
                assert_eq!(drift.missing, [], "{dialect:?} {closed}");
                assert_eq!(drift.unclear, [], "{dialect:?} {closed}");
                assert_eq!(drift.contradicted, [], "{dialect:?} {closed}");
                assert_eq!(drift.superfluous, [], "{dialect:?} {closed}");
                assert!(drift.needed > 0);
            }
        }
    }
}

/// Each address taken out of the file is missing, and nothing else; it is superfluous where the
/// file has it and today does not.
#[test]
fn one_address_more_or_less_is_told_exactly() {
    let whole = samples::whole();
    let gone: IpAddr = "198.41.192.27".parse().unwrap();
    let mut fewer = whole.clone();
    for entry in &mut fewer.entries {
        entry.addresses.retain(|address| address.ip != gone);
    }
    for dialect in Dialect::value_variants() {
        let mut reading = read_back(&fewer, *dialect, false);
        // By name it is let out all the same.
        reading.names.clear();
        let drift = compare(&whole, &reading, false);
        let missing: Vec<_> = drift
            .missing
            .iter()
            .map(|gap| (gap.transport, &*gap.addresses))
            .collect();
        assert_eq!(
            missing,
            [(Transport::Udp, &[gone][..]), (Transport::Tcp, &[gone])],
            "{dialect:?}"
        );
        assert!(drift.lacks_required() && drift.superfluous.is_empty());
        let drift = compare(&fewer, &read_back(&whole, *dialect, false), false);
        assert!(
            !drift.lacks_required() && drift.missing.is_empty(),
            "{dialect:?}"
        );
        let blocks: BTreeSet<_> = drift.superfluous.iter().map(|rule| rule.block).collect();
        assert_eq!(blocks, BTreeSet::from([Block::one(gone)]), "{dialect:?}");
        assert_eq!(drift.superfluous.len(), 2, "{dialect:?}");
    }
}

fn drift_of(text: &str) -> Drift {
    compare(
        &samples::http2_ipv4(),
        &read(text.as_bytes()).unwrap(),
        false,
    )
}

#[test]
fn wider_rules_cover_what_is_in_them() {
    let drift = drift_of(
        "iptables -A OUTPUT -d 198.41.192.0/24 -p tcp --dport 7844 -j ACCEPT\n\
         iptables -A OUTPUT -d 198.41.200.0/24 -j ACCEPT\n",
    );
    assert_eq!((drift.missing.len(), drift.superfluous.len()), (0, 0));
    assert!(!drift.lacks_required());
    assert_eq!(drift.needed, 20);
}

#[test]
fn what_is_not_clear_is_neither_missing_nor_present() {
    let drift = drift_of("198.41.192.0/24\n198.41.200.0/24 udp\n");
    let hosts = |gaps: &[Gap]| gaps.iter().map(|gap| gap.host.clone()).collect::<Vec<_>>();
    assert_eq!(hosts(&drift.unclear), ["region1.v2.argotunnel.com"]);
    assert_eq!(hosts(&drift.missing), ["region2.v2.argotunnel.com"]);
    assert!(drift.to_string().contains("a form that is not known"));
}

#[test]
fn a_denial_beside_a_permission_is_a_contradiction() {
    let drift = drift_of(
        "iptables -A OUTPUT -d 198.41.192.7 -j DROP\n\
         iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\n\
         iptables -A OUTPUT -j DROP\n",
    );
    assert_eq!(drift.contradicted.len(), 1);
    assert_eq!(drift.contradicted[0].addresses.len(), 1);
    // It keeps in all the rest, and with it what the resolvers are asked.
    assert!(drift.missing.iter().all(|gap| gap.port == 53));
    assert_eq!(drift.status(), ExitStatus::Blocked);
    let drift = drift_of(
        "iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\niptables -A OUTPUT -d 198.41.192.7 -j DROP\n",
    );
    assert_eq!(
        (drift.contradicted.len(), drift.status()),
        (0, ExitStatus::Ready)
    );
}

#[test]
fn rules_for_others_are_not_superfluous() {
    let own = "iptables -A OUTPUT -d 192.0.2.1 -p tcp --dport 443 -j ACCEPT\n";
    assert!(drift_of(own).superfluous.is_empty());
    let edge = "iptables -A OUTPUT -d 192.0.2.1 -p tcp --dport 7844 -j ACCEPT\n";
    assert_eq!(drift_of(edge).superfluous.len(), 1);
}

#[test]
fn resolvers_count_where_the_file_is_about_them() {
    let egress = samples::http2_ipv4();
    let all = "iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\n";
    let reading = read(all.as_bytes()).unwrap();
    assert!(!compare(&egress, &reading, false).lacks_required());
    assert!(compare(&egress, &reading, true).lacks_required());
    let text = format!("{all}iptables -A OUTPUT -d 9.9.9.8 -p udp --dport 53 -j ACCEPT\n");
    let reading = read(text.as_bytes()).unwrap();
    assert!(compare(&egress, &reading, false).lacks_required());
}

#[test]
fn names_let_out_what_they_resolve_to() {
    let named = |pattern: &str| Named {
        pattern: pattern.to_owned(),
        transport: Said::Any,
        ports: Said::Only((7844, 7844)),
        momentary: false,
    };
    let host = "Region1.v2.argotunnel.com";
    for (pattern, expected) in [
        ("region1.v2.argotunnel.com", Fit::Yes),
        ("*.v2.argotunnel.com", Fit::Yes),
        ("region*.v2.argotunnel.com", Fit::Yes),
        ("*", Fit::Yes),
        ("*.argotunnel.com", Fit::No),
        ("region2.v2.argotunnel.com", Fit::No),
    ] {
        assert_eq!(
            named(pattern).fit(host, Transport::Tcp, 7844),
            expected,
            "{pattern}"
        );
    }
    assert_eq!(named("*").fit(host, Transport::Tcp, 443), Fit::No);
}

#[test]
fn wide_characters_are_read_and_binaries_are_not() {
    let text = Dialect::Windows.render(&samples::whole(), None);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&[0xff, 0xfe], wide.as_slice()].concat();
    assert_eq!(read(&marked), read(text.as_bytes()));
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(
        read(&[&[0xfe, 0xff], big.as_slice()].concat()),
        read(text.as_bytes())
    );
    assert_eq!(read(&[0x7f, b'E', b'L', b'F', 0]), Err(Unreadable::Binary));
    for nothing in ["", "hello\n", "# 198.41.192\n", "\u{feff}"] {
        assert_eq!(
            read(nothing.as_bytes()),
            Err(Unreadable::Empty),
            "{nothing:?}"
        );
    }
    // An empty ruleset is an answer: all is missing.
    assert!(drift_of("table inet filter {\n}\n").lacks_required());
}

/// What DNS has not told is not what is needed today, whatever the file lets out.
#[test]
fn without_an_answer_of_dns_nothing_is_sure() {
    let all = "iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\n";
    let reading = read(all.as_bytes()).unwrap();
    let mut egress = samples::http2_ipv4();
    let drift = |egress: &Egress| compare(egress, &reading, false);
    assert_eq!(drift(&egress).status(), ExitStatus::Ready);
    assert!(
        drift(&egress)
            .to_string()
            .contains("20 destinations are documented.")
    );
    egress.today = Today::NotTold;
    assert_eq!(drift(&egress).status(), ExitStatus::Inconclusive);
    assert!(drift(&egress).to_string().contains("DNS has not told"));
    let drift = compare(&egress, &read(b"table inet filter {\n}\n").unwrap(), false);
    assert_eq!(drift.status(), ExitStatus::Blocked);
}

#[test]
fn the_comparison_in_words() {
    let mut today = samples::whole();
    today.entries.retain(|entry| entry.purpose != Purpose::Quic);
    let text = "iptables -A OUTPUT -d 198.41.192.0/24 -p tcp --dport 7844 -j ACCEPT\n\
                iptables -A OUTPUT -d 198.41.201.1 -p tcp --dport 7844 -j ACCEPT\n\
                ip6tables -A OUTPUT -d 2606:4700:a0::/48 -p tcp --dport 7844 -j ACCEPT\n\
                ip6tables -A OUTPUT -d 2606:4700:a8::/48 -m owner --uid-owner 7 -j ACCEPT\n\
                let 104.19.193.29 through\n";
    let reading = read(text.as_bytes()).unwrap();
    insta::assert_snapshot!(compare(&today, &reading, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_printed_is_read_exactly(egress in hostile::any_egress(), closed: bool) {
        for dialect in Dialect::value_variants() {
            let expected = expected(&egress, *dialect, closed);
            let lockdown = samples::lockdown();
            let text = dialect.render(&egress, closed.then_some(&lockdown));
            let reading = read(text.as_bytes()).unwrap_or_default();
            prop_assert!(!reading.guessed, "{:?}\n{}", dialect, text);
            let mut found = found(&reading);
            found.retain(|flow| expected.contains(flow) || flow.2 != 53);
            prop_assert_eq!(found, expected, "{:?}\n{}", dialect, text);
        }
    }

    /// A name reaches no output but as the letters, digits, `.`, `_` and `-` of its safe form.
    #[test]
    fn no_name_leaves_its_place(egress in hostile::any_egress(), closed: bool) {
        let mut plain = egress.clone();
        for entry in &mut plain.entries {
            let harmless: String = entry.host.as_str().chars().map(|_| 'x').collect();
            entry.host = crate::rules::text::HostName::sanitised(&harmless);
            entry.server_names = vec![entry.host.clone()];
        }
        let marks = |text: &str| {
            let kept: BTreeSet<char> = text.chars().filter(|c| !c.is_ascii_alphanumeric()).collect();
            kept
        };
        for dialect in Dialect::value_variants() {
            let lockdown = samples::lockdown();
            let text = dialect.render(&egress, closed.then_some(&lockdown));
            let usual = dialect.render(&plain, closed.then_some(&lockdown));
            prop_assert!(text.is_ascii());
            let mut allowed = marks(&usual);
            allowed.extend(['.', '_', '-', '\'']);
            prop_assert!(marks(&text).is_subset(&allowed), "{:?}\n{}", dialect, text);
        }
    }

    #[test]
    fn no_file_breaks_the_reader(bytes: Vec<u8>, text in ".{0,200}") {
        let _ = read(&bytes);
        let _ = read(text.as_bytes());
    }

    #[test]
    fn no_damaged_file_breaks_the_reader(cut in 0_usize..9000, from in 0_usize..9000) {
        for dialect in Dialect::value_variants() {
            let text = dialect.render(&samples::whole(), None);
            let (cut, from) = (cut.min(text.len()), from.min(text.len()));
            let _ = read([&text.as_bytes()[..cut], &text.as_bytes()[from..]].concat().as_slice());
        }
    }
}

/// 0 is for what is surely let out.
#[test]
fn what_is_required_and_not_clear_is_no_success() {
    let all = "iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\n";
    assert_eq!(drift_of(all).status(), ExitStatus::Ready);
    let doubtful = drift_of(&all.replace("-p tcp", "-o eth0 -p tcp"));
    assert_eq!(
        (doubtful.status(), doubtful.missing.len()),
        (ExitStatus::Inconclusive, 0)
    );
    assert!(
        doubtful
            .to_string()
            .starts_with("Nothing required is known to be missing, but")
    );
    assert_eq!(
        drift_of("iptables -A OUTPUT -p udp --dport 7844 -j ACCEPT\n").status(),
        ExitStatus::Blocked
    );
    // A host without an address today.
    let mut egress = samples::http2_ipv4();
    let edge = egress
        .entries
        .iter_mut()
        .filter(|entry| entry.purpose == Purpose::Http2);
    edge.for_each(|entry| entry.addresses.clear());
    let drift = compare(&egress, &read(all.as_bytes()).unwrap(), false);
    assert_eq!(drift.status(), ExitStatus::Inconclusive);
    // A resolver on this host, of which nobody knows whom it asks.
    let mut egress = samples::http2_ipv4();
    let dns = egress
        .entries
        .iter_mut()
        .filter(|entry| entry.purpose == Purpose::Dns);
    dns.for_each(|entry| {
        entry.addresses.truncate(1);
        entry.addresses[0].ip = "127.0.0.1".parse().unwrap();
    });
    let status = |closed| compare(&egress, &read(all.as_bytes()).unwrap(), closed).status();
    assert_eq!(
        (status(false), status(true)),
        (ExitStatus::Ready, ExitStatus::Inconclusive)
    );
    // What is optional and not clear is no failure.
    let text = format!(
        "{all}iptables -A OUTPUT -p udp --dport 7844 -j ACCEPT\nip6tables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\nip6tables -A OUTPUT -p udp --dport 7844 -j ACCEPT\niptables -A OUTPUT -o eth0 -p tcp --dport 443 -j ACCEPT\n"
    );
    let drift = compare(&samples::whole(), &read(text.as_bytes()).unwrap(), false);
    assert!(!drift.unclear.is_empty());
    assert_eq!(drift.status(), ExitStatus::Ready);
}

/// A file that keeps in all the rest has to let the resolvers through.
#[test]
fn a_whole_firewall_without_dns_lacks_it() {
    let all = "iptables -A OUTPUT -p tcp --dport 7844 -j ACCEPT\n";
    let closed = format!("{all}iptables -P OUTPUT DROP\n");
    assert_eq!(drift_of(&closed).status(), ExitStatus::Blocked);
    assert!(drift_of(&closed).missing.iter().all(|gap| gap.port == 53));
}

/// How a file stands to TCP 7844 at the edge.
fn way_of(text: &str) -> Way {
    let reading = read(text.as_bytes()).unwrap();
    let address = "198.41.192.7".parse().unwrap();
    reading.way("region1.v2.argotunnel.com", address, Transport::Tcp, 7844)
}

fn assert_ways(cases: &[(&str, Way)]) {
    for (text, expected) in cases {
        assert_eq!(way_of(text), *expected, "{text}");
    }
}
