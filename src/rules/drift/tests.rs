use std::collections::BTreeSet;

use clap::ValueEnum;
use proptest::prelude::*;

use super::*;
use crate::exit::ExitStatus;
use crate::rules::{Dialect, Egress, Purpose, hostile, samples};

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

#[test]
fn iptables_is_asked_in_its_order() {
    assert_ways(&[
        (
            "iptables -A OUTPUT -p tcp --dport 7844 -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Closed,
        ),
        (
            "iptables -A OUTPUT -j ACCEPT\niptables -I OUTPUT -p tcp --dport 7844 -j DROP\n",
            Way::Closed,
        ),
        (
            "iptables -A OUTPUT -j DROP\niptables -I OUTPUT 1 -p tcp --dport 7844 -j ACCEPT\n",
            Way::Open,
        ),
        (
            "iptables -A OUTPUT -j ACCEPT\niptables -D OUTPUT -j ACCEPT\n",
            Way::Unsaid,
        ),
        (
            "iptables -A OUTPUT -j ACCEPT\niptables -F OUTPUT\n",
            Way::Unsaid,
        ),
        ("iptables -A OUTPUT -j ACCEPT\niptables -F\n", Way::Unsaid),
        (
            "iptables -A OUTPUT -j ACCEPT\niptables -D OUTPUT 1\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT -p tcp -m owner --uid-owner 7 -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT ! -o lo -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Closed,
        ),
        (
            "iptables -A OUTPUT -m conntrack ! --ctstate ESTABLISHED -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT ! -p icmp -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT -p tcp --sport 1024:65535 --dport 7844 -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
    ]);
}

#[test]
fn tables_chains_and_families_of_iptables_are_told_apart() {
    assert_ways(&[
        (
            "iptables -t mangle -A OUTPUT -p tcp --dport 7844 -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Closed,
        ),
        (
            "iptables -t nat -A OUTPUT -p tcp --dport 7844 -j REDIRECT\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        ("iptables -t mangle -A OUTPUT -j ACCEPT\n", Way::Unsaid),
        (
            "iptables -A OUTPUT -j DOCKER\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT -j out\niptables -A out -p udp -j RETURN\niptables -A out -j ACCEPT\n",
            Way::Open,
        ),
        (
            "iptables -A OUTPUT -j out\niptables -A out -p tcp -j RETURN\niptables -A out -j ACCEPT\n",
            Way::Unsaid,
        ),
        (
            "iptables -A OUTPUT -j LOG\niptables -A OUTPUT -j ACCEPT\n",
            Way::Open,
        ),
        (
            "iptables -A INPUT -j ACCEPT\niptables -A FORWARD -j ACCEPT\niptables -P OUTPUT DROP\n",
            Way::Closed,
        ),
        (
            "iptables -A INPUT -j mine\niptables -A mine -j ACCEPT\n",
            Way::Unsaid,
        ),
        (
            "# Generated by iptables-save\n*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n",
            Way::Closed,
        ),
        (
            "# Generated by iptables-save\n*filter\n:OUTPUT DROP [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n# Generated by ip6tables-save\n*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n",
            Way::Open,
        ),
        (
            "# Generated by ip6tables-save\n*filter\n:OUTPUT DROP [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n# Generated by iptables-save\n*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n",
            Way::Closed,
        ),
        (
            "iptables -A OUTPUT -d region1.v2.argotunnel.com -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "iptables -A OUTPUT -d other.example -j ACCEPT\n",
            Way::Unsaid,
        ),
        (
            "iptables -A OUTPUT -d $EDGE -p tcp --dport 7844 -j ACCEPT\n",
            Way::Unclear,
        ),
    ]);
}

/// Each of these hides something that may matter.
#[test]
fn what_is_not_followed_leaves_everything_not_clear() {
    assert_ways(&[
        (
            "$IPT -A OUTPUT -p tcp --dport 7844 -j DROP\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "table inet t { flags dormant; chain o { type filter hook output priority 0; accept; } }\n",
            Way::Unclear,
        ),
        (
            "include \"/etc/more.nft\"\ntable inet t { chain o { type filter hook output priority 0; drop; } }\n",
            Way::Unclear,
        ),
        (
            "New-NetFirewallRule -Direction Outbound -Action Allow -Enabled $false\nNew-NetFirewallRule -Direction Outbound -RemotePort 1 -Action Block\n",
            Way::Unsaid,
        ),
    ]);
}

#[test]
fn sets_are_known_where_the_file_holds_them() {
    let rule = "iptables -A OUTPUT -p tcp -m set --match-set edge dst --dport 7844 -j ACCEPT\n";
    for (sets, expected) in [
        (
            "ipset create edge hash:net\nipset add edge 198.41.192.0/24\n",
            Way::Open,
        ),
        (
            "ipset create edge hash:net\nipset add edge 198.41.200.0/24\n",
            Way::Unsaid,
        ),
        (
            "ipset create edge hash:net\nipset add edge 198.41.192.0/24\nipset destroy edge\n",
            Way::Unclear,
        ),
        (
            "ipset restore <<'END'\ncreate edge hash:net\nadd edge 198.41.192.0/24\nEND\n",
            Way::Open,
        ),
        ("", Way::Unclear),
    ] {
        assert_eq!(way_of(&format!("{sets}{rule}")), expected, "{sets}");
    }
}

#[test]
fn scripts_that_may_not_do_it_are_not_clear() {
    assert_ways(&[
        (
            "if [ -e /x ]; then\n iptables -A OUTPUT -j ACCEPT\nfi\n",
            Way::Unclear,
        ),
        (
            "if [ -e /x ]; then\n :\nfi\niptables -A OUTPUT -j ACCEPT\n",
            Way::Open,
        ),
        ("open() {\n iptables -A OUTPUT -j ACCEPT\n}\n", Way::Unclear),
        (
            "open()\n{\n iptables -A OUTPUT -j ACCEPT\n}\niptables -A OUTPUT -p tcp -j ACCEPT\n",
            Way::Open,
        ),
        (". ./more.sh\niptables -A OUTPUT -j ACCEPT\n", Way::Unclear),
        (
            "iptables-restore /etc/rules\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "nft add rule inet filter output tcp dport 7844 drop\niptables -A OUTPUT -j ACCEPT\n",
            Way::Unclear,
        ),
        (
            "nft add chain inet f o '{ type filter hook output priority 0; policy drop; }'\nnft add rule inet f o tcp dport 7844 accept\n",
            Way::Open,
        ),
    ]);
}

#[test]
fn nftables_is_asked_in_its_order() {
    let base = "type filter hook output priority 0; policy drop;";
    for (chains, expected) in [
        (
            format!("chain o {{ {base} tcp dport 7844 drop; accept; }}"),
            Way::Closed,
        ),
        (
            format!("chain o {{ {base} accept; tcp dport 7844 drop; }}"),
            Way::Open,
        ),
        (
            format!("chain o {{ {base} }} chain x {{ accept; }}"),
            Way::Closed,
        ),
        (
            format!("chain o {{ {base} jump x; }} chain x {{ accept; }}"),
            Way::Open,
        ),
        (
            format!("chain o {{ {base} jump x; accept; }} chain x {{ return; }}"),
            Way::Open,
        ),
        (
            format!("chain o {{ {base} goto x; accept; }} chain x {{ return; }}"),
            Way::Closed,
        ),
        (
            format!("chain o {{ {base} tcp dport vmap {{ 7844 : accept }}; }}"),
            Way::Unclear,
        ),
        (
            format!(
                "chain o {{ {base} ct state vmap {{ established : accept, invalid : drop }}; accept; }}"
            ),
            Way::Open,
        ),
        (
            format!("chain o {{ {base} ct state established,new accept; }}"),
            Way::Open,
        ),
        (
            format!("chain o {{ {base} ct state established,related accept; }}"),
            Way::Closed,
        ),
        (
            format!("chain o {{ {base} meta l4proto != icmp drop; accept; }}"),
            Way::Unclear,
        ),
        (
            format!("chain o {{ {base} oifname != \"lo\" reject with tcp reset; accept; }}"),
            Way::Closed,
        ),
    ] {
        let text = format!("table inet t {{ {chains} }}\n");
        assert_eq!(way_of(&text), expected, "{chains}");
    }
}

#[test]
fn every_chain_of_nftables_in_the_way_counts() {
    let base = "type filter hook output priority 0; policy drop;";
    for (chains, expected) in [
        (
            format!(
                "chain o {{ {base} accept; }} chain p {{ type filter hook output priority 5; policy drop; tcp dport 443 accept; }}"
            ),
            Way::Closed,
        ),
        (
            format!(
                "chain o {{ {base} accept; }} chain p {{ type filter hook postrouting priority 5; tcp dport 7844 drop; }}"
            ),
            Way::Closed,
        ),
        (
            format!(
                "chain o {{ {base} accept; }} chain p {{ type nat hook output priority 5; tcp dport 7844 redirect to :1; }}"
            ),
            Way::Unclear,
        ),
        (
            "chain i { type filter hook input priority 0; accept; }".to_owned(),
            Way::Unsaid,
        ),
        (
            "chain o { type filter hook output priority 0; policy accept; }".to_owned(),
            Way::Unclear,
        ),
        ("chain x { accept; }".to_owned(), Way::Unclear),
        (
            format!("chain o {{ {base} ip daddr $edge accept; }}"),
            Way::Unclear,
        ),
    ] {
        assert_eq!(
            way_of(&format!("table inet t {{ {chains} }}\n")),
            expected,
            "{chains}"
        );
    }
    let text = "define a = 198.41.192.7\ndefine edge = { $a, 1.1.1.1 }\ntable inet t { chain o { type filter hook output priority 0; policy drop; ip daddr $edge accept; } }\n";
    assert_eq!(way_of(text), Way::Open);
    assert_eq!(
        way_of(&format!("{text}include \"/etc/more.nft\"\n")),
        Way::Unclear
    );
    assert_eq!(way_of(&format!("{text}flush ruleset\n")), Way::Unsaid);
    assert_eq!(
        way_of(&format!("{text}insert rule inet t o tcp dport 7844 drop\n")),
        Way::Closed
    );
    assert_eq!(
        way_of(&format!("{text}delete rule inet t o handle 3\n")),
        Way::Unclear
    );
    assert_eq!(
        way_of(&text.replace("table inet", "table ip6")),
        Way::Unsaid
    );
}

#[test]
fn ufw_is_asked_in_its_order() {
    assert_ways(&[
        (
            "ufw deny out 7844\nufw allow out to 198.41.192.0/24\n",
            Way::Closed,
        ),
        (
            "ufw allow out to 198.41.192.0/24\nufw deny out 7844\n",
            Way::Open,
        ),
        (
            "ufw allow out to 198.41.192.0/24\nufw insert 1 deny out 7844\n",
            Way::Closed,
        ),
        (
            "ufw allow out to 198.41.192.0/24\nufw prepend deny out 7844\n",
            Way::Closed,
        ),
        (
            "ufw allow out 7844/tcp\nufw delete allow out 7844/tcp\n",
            Way::Unsaid,
        ),
        (
            "ufw allow out 7844/tcp\nufw delete allow out 443/tcp\n",
            Way::Open,
        ),
        ("ufw delete allow out 7844/tcp\n", Way::Unsaid),
        ("ufw allow out 7844/tcp\nufw delete 1\n", Way::Unclear),
        ("ufw allow out 7844/tcp\nufw --force reset\n", Way::Unsaid),
        (
            "ufw route allow out on eth0 to any port 7844\n",
            Way::Unsaid,
        ),
        ("ufw allow out proto esp to any\n", Way::Unsaid),
        (
            "ufw --dry-run allow out 7844/tcp\nufw allow out 53\n",
            Way::Unsaid,
        ),
        ("ufw default deny outgoing\n", Way::Closed),
        ("ufw default allow outgoing\n", Way::Unclear),
        ("ufw default deny incoming\nufw allow out 7844\n", Way::Open),
        ("ufw limit out 7844/tcp\n", Way::Unclear),
        (
            "ufw allow out from any port 40000 to any port 7844\n",
            Way::Unclear,
        ),
        ("ufw allow out to region1.v2.argotunnel.com\n", Way::Unclear),
    ]);
}

#[test]
fn the_last_rule_of_pf_decides_and_macros_are_filled_in() {
    assert_ways(&[
        (
            "pass out all\nblock out proto tcp to any port 7844\n",
            Way::Closed,
        ),
        (
            "block all\npass out proto tcp to any port 7844\n",
            Way::Open,
        ),
        (
            "block out quick proto tcp to any port 7844\npass out all\n",
            Way::Closed,
        ),
        ("pass out quick all\nblock all\n", Way::Open),
        (
            "edge = \"{ 198.41.192.0/24, 1.1.1.1 }\"\npass out proto tcp to $edge port 7844\n",
            Way::Open,
        ),
        (
            "a = \"198.41.192.7\"\nports = \"{ 443 7844 }\"\nedge = \"{\" $a \"1.1.1.1 }\"\npass out proto tcp to $edge port $ports\n",
            Way::Open,
        ),
        ("pass out proto tcp to $edge port 7844\n", Way::Unclear),
        (
            "table <edge> persist file \"/etc/edge\"\npass out proto tcp to <edge> port 7844\n",
            Way::Unclear,
        ),
        (
            "pass out proto tcp to region1.v2.argotunnel.com port 7844\n",
            Way::Unclear,
        ),
        (
            "pass out proto tcp to ! 10.0.0.0/8 port 7844\n",
            Way::Unclear,
        ),
        ("anchor \"more\"\npass out quick all\n", Way::Unclear),
        ("pass out on egress all\n", Way::Open),
        (
            "pass out proto tcp from any port 1024:65535 to any port 7844\n",
            Way::Unclear,
        ),
    ]);
}

#[test]
fn firewalld_is_asked_by_priorities() {
    let rule = |priority: i32, what: &str| {
        format!(
            "firewall-cmd --policy=out --add-rich-rule='rule priority=\"{priority}\" family=\"ipv4\" {what}'\n"
        )
    };
    let deny = r#"port port="7844" protocol="tcp" drop"#;
    for (text, expected) in [
        (rule(0, "accept") + &rule(0, deny), Way::Closed),
        (rule(-5, "accept") + &rule(0, deny), Way::Open),
        (rule(5, "accept") + &rule(0, deny), Way::Closed),
        (rule(0, r#"destination ipset="edge" accept"#), Way::Unclear),
        (rule(0, "accept") + "firewall-cmd --policy=out --remove-rich-rule='x'\n", Way::Unclear),
        ("firewall-cmd --direct --add-rule ipv4 filter OUTPUT 9 -j ACCEPT\nfirewall-cmd --direct --add-rule ipv4 filter OUTPUT 1 -p tcp --dport 7844 -j DROP\n".to_owned(), Way::Closed),
    ] {
        let zones = "firewall-cmd --policy=out --add-ingress-zone=HOST\nfirewall-cmd --policy=out --add-egress-zone=ANY\n";
        assert_eq!(way_of(&format!("{zones}{text}")), expected, "{text}");
    }
    assert_eq!(
        way_of(&rule(0, "accept")),
        Way::Unclear,
        "between which zones?"
    );
    let forwarding = "firewall-cmd --policy=out --add-ingress-zone=public\n";
    assert_eq!(
        way_of(&format!("{forwarding}{}", rule(0, "accept"))),
        Way::Unsaid
    );
    let policy = |target: &str, rules: &str| {
        format!(
            "<policy target=\"{target}\"><ingress-zone name=\"HOST\"/><egress-zone name=\"ANY\"/>{rules}</policy>\n"
        )
    };
    let rule = "<rule family=\"ipv4\"><port port=\"7844\" protocol=\"tcp\"/><accept/></rule>";
    assert_eq!(way_of(&policy("DROP", rule)), Way::Open);
    assert_eq!(
        way_of(&policy("DROP", &format!("<!-- {rule} -->"))),
        Way::Closed
    );
    assert_eq!(
        way_of(&policy("DROP", rule).replace("ANY", "dmz")),
        Way::Unclear
    );
}

#[test]
fn clouds_are_asked_by_their_priorities() {
    let gcloud = |action: &str, more: &str| {
        format!(
            "gcloud compute firewall-rules create x --direction=EGRESS --action={action} --rules=tcp:7844 --destination-ranges=0.0.0.0/0 {more}\n"
        )
    };
    let azure = |access: &str, priority: u16, to: &str| {
        format!(
            "az network nsg rule create --direction Outbound --access {access} --priority {priority} --protocol Tcp --destination-port-ranges 7844 --destination-address-prefixes {to}\n"
        )
    };
    let acl = |action: &str, number: u16| {
        format!(
            "aws ec2 create-network-acl-entry --egress --rule-number {number} --rule-action {action} --protocol 6 --port-range From=7844,To=7844 --cidr-block 0.0.0.0/0\n"
        )
    };
    for (text, expected) in [
        (gcloud("ALLOW", ""), Way::Open),
        (gcloud("ALLOW", "--disabled"), Way::Unsaid),
        (gcloud("ALLOW", "") + &gcloud("DENY", ""), Way::Closed),
        (
            gcloud("ALLOW", "--priority=900") + &gcloud("DENY", ""),
            Way::Open,
        ),
        (
            gcloud("ALLOW", "") + &gcloud("DENY", "--priority=900"),
            Way::Closed,
        ),
        (gcloud("ALLOW", "--target-tags=a"), Way::Open),
        (
            gcloud("ALLOW", "--target-tags=a") + &gcloud("DENY", "--priority=1 --target-tags=b"),
            Way::Unclear,
        ),
        (
            gcloud("ALLOW", "") + "gcloud compute firewall-rules delete x\n",
            Way::Unclear,
        ),
        (
            azure("Allow", 200, "'*'") + &azure("Deny", 100, "198.41.192.0/24"),
            Way::Closed,
        ),
        (
            azure("Allow", 100, "'*'") + &azure("Deny", 200, "198.41.192.0/24"),
            Way::Open,
        ),
        (azure("Allow", 100, "AzureCloud"), Way::Unclear),
        (acl("allow", 100) + &acl("deny", 50), Way::Closed),
        (acl("allow", 50) + &acl("deny", 100), Way::Open),
    ] {
        assert_eq!(way_of(&text), expected, "{text}");
    }
    for (text, expected) in [
        (
            r#"[{"direction":"EGRESS","disabled":true,"allowed":[{"IPProtocol":"tcp"}],"destinationRanges":["0.0.0.0/0"]}]"#,
            Way::Unsaid,
        ),
        (
            r#"[{"direction":"EGRESS","priority":1000,"allowed":[{"IPProtocol":"tcp"}],"destinationRanges":["0.0.0.0/0"]},
                {"direction":"EGRESS","priority":10,"denied":[{"IPProtocol":"tcp","ports":["7844"]}],"destinationRanges":["0.0.0.0/0"]}]"#,
            Way::Closed,
        ),
        (
            r#"[{"direction":"Outbound","access":"Allow","priority":200,"protocol":"*","destinationAddressPrefix":"*","destinationPortRange":"*"},
                {"direction":"Outbound","access":"Deny","priority":100,"protocol":"Tcp","destinationAddressPrefix":"*","destinationPortRange":"7844"}]"#,
            Way::Closed,
        ),
        (
            r#"{"SecurityGroups":[{"GroupId":"a","IpPermissionsEgress":[{"IpProtocol":"tcp","FromPort":7844,"ToPort":7844,"PrefixListIds":[{"PrefixListId":"pl-1"}]}]}]}"#,
            Way::Unclear,
        ),
        (
            r#"{"SecurityGroups":[{"GroupId":"a","IpPermissionsEgress":[]},{"GroupId":"b","IpPermissionsEgress":[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]}]}"#,
            Way::Unclear,
        ),
        (
            r#"{"NetworkAcls":[{"Entries":[{"CidrBlock":"0.0.0.0/0","Egress":true,"Protocol":"-1","RuleAction":"allow","RuleNumber":100},
                {"CidrBlock":"0.0.0.0/0","Egress":true,"PortRange":{"From":7844,"To":7844},"Protocol":"6","RuleAction":"deny","RuleNumber":90}]}]}"#,
            Way::Closed,
        ),
    ] {
        assert_eq!(way_of(text), expected, "{text}");
    }
}

#[test]
fn policies_are_those_of_the_pods() {
    let plain = |selector: &str| {
        format!(
            "kind: NetworkPolicy\nmetadata:\n  namespace: a\nspec:\n  podSelector: {selector}\n  egress:\n    - {{}}\n"
        )
    };
    let cilium = |deny: &str| {
        format!(
            "kind: CiliumNetworkPolicy\nspec:\n  endpointSelector:\n    matchLabels:\n      app: cloudflared\n  egress:\n    - toEntities:\n        - world\n{deny}"
        )
    };
    let deny = |to: &str| format!("  egressDeny:\n    - {to}\n");
    for (text, expected) in [
        (plain("{}"), Way::Open),
        (
            plain("\n    matchLabels:\n      app: cloudflared"),
            Way::Open,
        ),
        (plain("\n    matchLabels:\n      app: web"), Way::Unclear),
        (
            plain("\n    matchLabels:\n      app: cloudflared\n      tier: web"),
            Way::Unclear,
        ),
        (
            format!(
                "{}---\n{}",
                plain("{}"),
                plain("{}").replace("namespace: a", "namespace: b")
            ),
            Way::Unclear,
        ),
        (
            format!("{}---\nkind: AdminNetworkPolicy\n", plain("{}")),
            Way::Unclear,
        ),
        (
            plain("{}").replace("  egress:", "  policyTypes:\n    - Ingress\n  egress:"),
            Way::Unsaid,
        ),
        (cilium(""), Way::Open),
        (
            cilium(&deny("toCIDR:\n        - 198.41.192.0/24")),
            Way::Closed,
        ),
        (cilium(&deny("toEntities:\n        - world")), Way::Closed),
        (cilium(&deny("toCIDR:\n        - 192.0.2.0/24")), Way::Open),
        (cilium(&deny("toServices:\n        - x")), Way::Unclear),
        (
            cilium("").replace("app: cloudflared", "app: web"),
            Way::Unclear,
        ),
    ] {
        let reading = read(text.as_bytes());
        let address = "198.41.192.7".parse().unwrap();
        let way =
            reading.map(|r| r.way("region1.v2.argotunnel.com", address, Transport::Tcp, 7844));
        // A policy that says nothing about what leaves is no rule to compare.
        assert_eq!(way.unwrap_or(Way::Unsaid), expected, "{text}");
    }
}

#[test]
fn windows_blocks_before_it_allows() {
    let rule = |action: &str, more: &str| {
        format!(
            "New-NetFirewallRule -Direction Outbound -Action {action} -Protocol TCP -RemotePort 7844 {more}\n"
        )
    };
    for (text, expected) in [
        (rule("Allow", "") + &rule("Block", ""), Way::Closed),
        (
            rule("Allow", "") + &rule("Block", "-Program x"),
            Way::Unclear,
        ),
        (rule("Allow", "-RemoteAddress $edge"), Way::Unclear),
        (
            rule("Allow", "") + "Remove-NetFirewallRule -DisplayName x\n",
            Way::Unclear,
        ),
        (rule("Allow", "-LocalPort 1024-65535"), Way::Unclear),
        (
            rule("Allow", "-RemoteAddress 1.1.1.1")
                + "Set-NetFirewallProfile -All -DefaultOutboundAction Block\n",
            Way::Closed,
        ),
    ] {
        assert_eq!(way_of(&text), expected, "{text}");
    }
}

#[test]
fn tables_and_words_are_no_more_than_they_say() {
    let head = "action,protocol,source,source_port,destination,destination_port\n";
    for (rows, expected) in [
        ("permit,tcp,any,any,any,7844\n", Way::Open),
        (
            "permit,tcp,any,any,any,any\ndeny,tcp,any,any,any,7844\n",
            Way::Closed,
        ),
        (
            "permit,tcp,any,any,any,7844\ndeny,any,any,any,any,any\n",
            Way::Open,
        ),
        ("permit,tcp,10.0.0.0/8,any,any,7844\n", Way::Unclear),
        ("permit,tcp,any,any,edge-servers,7844\n", Way::Unclear),
        ("shape,tcp,any,any,any,7844\n", Way::Unclear),
    ] {
        assert_eq!(way_of(&format!("{head}{rows}")), expected, "{rows}");
    }
    assert_eq!(
        way_of("permit tcp any host 198.41.192.7 eq 7844\n"),
        Way::Unclear
    );
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
