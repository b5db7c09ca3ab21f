use super::super::samples::{self, lookup, options, surroundings};
use super::*;
use crate::model::{Answer, EdgeAddress, OptionalHost, RecordType};

fn entry<'a>(egress: &'a Egress, host: &str, purpose: Purpose) -> &'a Entry {
    let wanted = |e: &&Entry| e.host.as_str() == host && e.purpose == purpose;
    egress.entries.iter().find(wanted).unwrap()
}

fn hosts(egress: &Egress) -> Vec<String> {
    egress.entries.iter().map(Entry::label).collect()
}

#[test]
fn a_world_in_order_gives_every_address_once() {
    let egress = samples::whole();
    assert_eq!(
        hosts(&egress),
        [
            "resolver: dns",
            "resolver: dns",
            "region1.v2.argotunnel.com: quic",
            "region2.v2.argotunnel.com: quic",
            "region1.v2.argotunnel.com: http2",
            "region2.v2.argotunnel.com: http2",
            "api.cloudflare.com: https, optional",
            "update.argotunnel.com: https, optional",
            "api.trycloudflare.com: https, optional",
            "cloudflare-dns.com: dns over tls, optional",
        ]
    );
    let region1 = entry(&egress, "region1.v2.argotunnel.com", Purpose::Quic);
    assert_eq!(region1.of(Family::Ipv4).count(), 10);
    assert_eq!(region1.of(Family::Ipv6).count(), 10);
    assert!(region1.addresses.is_sorted());
    assert!(
        region1
            .addresses
            .iter()
            .all(|a| a.origin == Origin::Answered)
    );
    assert_eq!((region1.port, region1.protocol()), (7844, "udp"));
    // One optional host is not in this DNS, and it says so; two have no rule by design.
    assert_eq!(egress.notes.len(), 1, "{:?}", egress.notes);
    assert!(egress.notes[0].contains("api.trycloudflare.com"));
    let without = egress.without_a_rule.unwrap_or_default();
    for host in ["github.com", "management.argotunnel.com"] {
        assert!(without.contains(host), "{without}");
    }
}

#[test]
fn hosts_that_are_asked_for_have_a_rule() {
    let asked = |name: &str| OptionalHost {
        name: name.to_owned(),
        asked: true,
    };
    let options = Options {
        optional: false,
        optional_hosts: Some(vec![
            asked("github.com"),
            asked("pqtunnels.cloudflareresearch.com"),
        ]),
        ..options()
    };
    let lookups = [lookup(
        "github.com",
        RecordType::A,
        vec![Answer::Address("192.0.2.8".parse().unwrap())],
    )];
    let egress = Egress::new(&options, &lookups, surroundings());
    let github = entry(&egress, "github.com", Purpose::Https);
    assert_eq!(github.addresses.len(), 1);
    entry(&egress, "pqtunnels.cloudflareresearch.com", Purpose::Https);
    assert_eq!(hosts(&egress).len(), 2 + 4 + 2, "{:?}", hosts(&egress));
    let typed = egress.arguments.join(" ");
    let named = "--optional-host github.com --optional-host pqtunnels.cloudflareresearch.com";
    assert!(typed.contains(named), "{typed}");
    assert_eq!(egress.without_a_rule, None);
}

#[test]
fn what_has_drifted_is_marked_and_lies_become_no_rule() {
    let egress = samples::drifted();
    let region1 = entry(&egress, "region1.v2.argotunnel.com", Purpose::Quic);
    let marked = |origin| -> Vec<String> {
        let of_origin = region1.addresses.iter().filter(|a| a.origin == origin);
        of_origin.map(|a| a.ip.to_string()).collect()
    };
    assert_eq!(marked(Origin::NotDocumented), ["198.41.192.99"]);
    assert_eq!(marked(Origin::NoLongerAnswered), ["198.41.192.7"]);
    let region2 = entry(&egress, "region2.v2.argotunnel.com", Purpose::Quic);
    let v4: Vec<_> = region2.of(Family::Ipv4).collect();
    assert!(v4.len() == 10 && v4.iter().all(|a| a.origin == Origin::Documented));
    assert!(
        egress
            .notes
            .iter()
            .any(|n| n.contains("198.18.0.7") && n.contains("cannot be right"))
    );
}

#[test]
fn options_decide_what_is_listed() {
    let egress = samples::http2_ipv4();
    assert!(egress.entries.iter().all(|e| e.purpose != Purpose::Quic));
    assert_eq!(
        egress.arguments.join(" "),
        "--protocol http2 --edge-ip-version 4 --no-optional"
    );
    let region1 = entry(&egress, "region1.v2.argotunnel.com", Purpose::Http2);
    assert_eq!(region1.of(Family::Ipv6).count(), 0);
    assert!(
        region1
            .addresses
            .iter()
            .all(|a| a.origin == Origin::Documented)
    );
    assert!(egress.notes[0].contains("only the documented addresses"));
}

#[test]
fn the_port_and_the_hosts_are_those_of_the_srv_record() {
    let mut lookups = samples::lookups();
    let service = |target: &str| Answer::Service {
        priority: 1,
        weight: 1,
        port: 17844,
        target: target.to_owned(),
    };
    let targets = vec![
        service("$(reboot).example"),
        service("region2.v2.argotunnel.com"),
    ];
    lookups[0] = lookup(&catalog::srv_name(None), RecordType::Srv, targets);
    let answer = vec![Answer::Address("192.0.2.1".parse().unwrap())];
    lookups.push(lookup("$(reboot).example", RecordType::A, answer));
    let egress = Egress::new(&options(), &lookups, surroundings());
    let hostile = entry(&egress, "__reboot_.example", Purpose::Quic);
    assert_eq!((hostile.port, hostile.addresses.len()), (17844, 1));
    let usual = entry(&egress, "region1.v2.argotunnel.com", Purpose::Quic);
    assert_eq!(
        (usual.port, usual.requirement),
        (7844, Requirement::Optional)
    );
    let named = entry(&egress, "region2.v2.argotunnel.com", Purpose::Quic);
    assert_eq!(
        (named.port, named.requirement),
        (17844, Requirement::Required)
    );
    assert!(egress.notes.iter().all(|note| !note.contains("$(")));
}

#[test]
fn edges_given_by_hand_replace_discovery() {
    let edge = ["192.0.2.9:7000", "[2001:db8::9]:7000", "own.example:7844"];
    let options = Options {
        edge: edge
            .iter()
            .map(|e| e.parse::<EdgeAddress>().unwrap())
            .collect(),
        edge_ip_version: IpVersionChoice::V4,
        optional: true,
        ..options()
    };
    let lookups = [lookup(
        "own.example",
        RecordType::A,
        vec![Answer::Address("192.0.2.8".parse().unwrap())],
    )];
    let egress = Egress::new(&options, &lookups, surroundings());
    let quic: Vec<_> = egress
        .entries
        .iter()
        .filter(|e| e.purpose == Purpose::Quic)
        .collect();
    let listed: Vec<_> = quic
        .iter()
        .flat_map(|e| e.addresses.iter().map(|a| (a.ip.to_string(), e.port)))
        .collect();
    assert_eq!(
        listed,
        [
            ("192.0.2.9".to_owned(), 7000),
            ("2001:db8::9".to_owned(), 7000),
            ("192.0.2.8".to_owned(), 7844)
        ]
    );
    assert!(
        egress
            .entries
            .iter()
            .all(|e| e.purpose != Purpose::DnsOverTls)
    );
    assert!(
        egress
            .arguments
            .join(" ")
            .contains("--edge [2001:db8::9]:7000")
    );
}

#[test]
fn a_stub_without_upstreams_is_told() {
    let stub = Surroundings {
        resolvers: vec!["127.0.0.53:53".parse().unwrap()],
        ..surroundings()
    };
    let told = |surroundings| {
        let egress = Egress::new(&options(), &samples::lookups(), surroundings);
        egress.notes.iter().any(|note| note.contains("upstream"))
    };
    assert!(told(stub));
    assert!(!told(surroundings()));
}
