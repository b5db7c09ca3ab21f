//! Hand-made reports for the tests of the renderers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::catalog;
use crate::model::*;

/// What `private` says about its host.
pub(crate) const SECRETS: [&str; 10] = [
    "db-7",
    "10.20.30.40",
    "fd12:3456::40",
    "10.20.30.53",
    "fd12:3456::53",
    "acme-corp",
    "/home/jo",
    "9.9.9.9",
    "proxy.acme.example",
    "10.20.30.99",
];

/// All samples by name.
pub(crate) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("ready", ready()),
        ("degraded", degraded()),
        ("dns-dead", dns_dead()),
        ("partial", partial()),
        ("http2-only", http2_only()),
        ("three-edges", three_edges()),
        ("private", private()),
    ]
}

/// Everything open, both families.
pub(crate) fn ready() -> Report {
    let mut report = base(
        Verdict::Ready,
        "cloudflared will run over QUIC; everything that it needs is reachable.",
    );
    for (service, family, region) in lines(2) {
        report
            .destinations
            .push(row(service, family, Some(region), Status::Reachable, None));
    }
    with_optional(&mut report, |_| Status::Reachable);
    report
}

/// The sketch of the table: UDP dropped, no IPv6.
pub(crate) fn degraded() -> Report {
    let mut report = base(
        Verdict::Degraded,
        "QUIC is blocked: UDP 7844 is dropped in silence. Set --protocol http2.",
    );
    for (service, family, region) in lines(2) {
        let (status, cause) = match (service, family) {
            (_, Family::Ipv6) => (Status::Unavailable, None),
            (Service::Quic, _) => (Status::Blocked, Some(Cause::Dropped)),
            _ => (Status::Reachable, None),
        };
        report
            .destinations
            .push(row(service, family, Some(region), status, cause));
    }
    with_optional(&mut report, |family| match family {
        Family::Ipv4 => Status::Reachable,
        Family::Ipv6 => Status::Unavailable,
    });
    report.findings.push(Finding {
        code: FindingCode::UdpDropped,
        severity: Severity::Error,
        title: "UDP 7844 is dropped in silence".to_owned(),
        detail: "cloudflared falls back to HTTP/2 late. UDP and ICMP through the tunnel do not work then.".to_owned(),
        affects: vec![Affected {
            host: "region1.v2.argotunnel.com".to_owned(),
            port: 7844,
            transport: Transport::Udp,
            family: Family::Ipv4,
        }],
        evidence: vec![Evidence("20 addresses, 3 Initials each: no reply and no ICMP in 1.1 s; TCP to the same addresses answers in 21 ms.".to_owned())],
        remedy: Remedy {
            summary: "Ask for these flows to be allowed:".to_owned(),
            commands: vec!["UDP out to 198.41.192.0/24 and 198.41.200.0/24, port 7844".to_owned()],
        },
    });
    report
}

/// No resolver answers; the documented addresses are open.
pub(crate) fn dns_dead() -> Report {
    let mut report = base(
        Verdict::Blocked,
        "cloudflared will not start: the names of the edge do not resolve.",
    );
    for lookup in &mut report.dns.lookups {
        lookup.status = LookupStatus::TimedOut;
        lookup.answers.clear();
        lookup.elapsed_ms = Millis::from(5000.0);
    }
    let dot = Lookup {
        via: Via::Dot,
        ..report.dns.lookups[0].clone()
    };
    report.dns.lookups.push(dot);
    for (service, family, region) in lines(2) {
        let mut row = row(service, family, Some(region), Status::Reachable, None);
        row.source = Source::Documented;
        report.destinations.push(row);
    }
    with_optional(&mut report, |_| Status::Unresolved);
    report.ended = Ended::Budget;
    report
}

/// Some addresses cut, with the longest words that there are; an optional host cut over IPv6 only.
pub(crate) fn partial() -> Report {
    let mut report = base(
        Verdict::Degraded,
        "cloudflared will run over QUIC, but part of the edge is blocked.",
    );
    for (service, family, region) in lines(2) {
        let (status, cause) = match (service, family, region) {
            (Service::Http2, Family::Ipv4, 1) => (Status::Partial, Some(Cause::LargeHelloDropped)),
            (Service::Http2, Family::Ipv4, _) => (Status::Blocked, Some(Cause::LargeHelloDropped)),
            (Service::Quic, Family::Ipv6, 2) => (Status::Inconclusive, None),
            _ => (Status::Reachable, None),
        };
        report
            .destinations
            .push(row(service, family, Some(region), status, cause));
    }
    with_optional(&mut report, |family| match family {
        Family::Ipv4 => Status::Reachable,
        Family::Ipv6 => Status::Blocked,
    });
    report.dns.lookups[1].unexpected = report.dns.lookups[1].answers.clone();
    report
}

/// `--protocol http2 --no-optional`.
pub(crate) fn http2_only() -> Report {
    let mut report = base(
        Verdict::Ready,
        "cloudflared will run over http2, the only protocol that was asked for.",
    );
    for (service, family, region) in lines(2) {
        let status = if service == Service::Quic {
            Status::Skipped
        } else {
            Status::Reachable
        };
        report
            .destinations
            .push(row(service, family, Some(region), status, None));
    }
    report.options.protocol = ProtocolChoice::Http2;
    report.options.optional = false;
    report.options.optional_hosts = Some(Vec::new());
    report.dns.lookups.pop();
    report
}

/// Three addresses of `--edge`, one with a port of its own.
pub(crate) fn three_edges() -> Report {
    let mut report = base(
        Verdict::Degraded,
        "cloudflared will run over QUIC, but one of three edges is blocked.",
    );
    for (service, family, region) in lines(3) {
        let (status, cause) = match (family, region) {
            (Family::Ipv6, 3) => continue,
            (_, 2) => (Status::Blocked, Some(Cause::TlsIntercepted)),
            _ => (Status::Reachable, None),
        };
        let mut row = row(service, family, Some(region), status, cause);
        row.host =
            ["edge-a.example.net", "edge-b.example.net", "203.0.113.9"][region - 1].to_owned();
        row.port = if region == 3 { 8443 } else { 7844 };
        row.source = Source::Given;
        report.options.edge = vec!["edge-a.example.net:7844".parse().unwrap()];
        report.destinations.push(row);
    }
    report.dns.lookups.clear();
    report
}

/// A report that names its host everywhere it can.
pub(crate) fn private() -> Report {
    let mut report = degraded();
    let local = |text: &str| FamilyState::Available {
        source: Some(text.parse().unwrap()),
    };
    report.host.name = Some("db-7".to_owned());
    report.host.ipv4 = local("10.20.30.40");
    report.host.ipv6 = local("fd12:3456::40");
    report.host.proxies = ["proxy.acme.example", "10.20.30.99"]
        .map(|host| Proxy {
            variable: "HTTPS_PROXY".to_owned(),
            scheme: "http".to_owned(),
            host: Some(host.to_owned()),
            port: Some(3128),
        })
        .to_vec();
    report.options.edge_bind_address = Some("10.20.30.40".parse().unwrap());
    report.options.team = Some("acme-corp".to_owned());
    report.options.cacert = Some("/home/jo/ca.pem".to_owned());
    report.options.resolver = vec!["9.9.9.9:5353".parse().unwrap()];
    report.dns.resolvers = vec![
        "10.20.30.53:53".parse().unwrap(),
        "[fd12:3456::53]:53".parse().unwrap(),
    ];
    report.dns.lookups[0].via = Via::Resolver("10.20.30.53:53".parse().unwrap());
    report.dns.lookups[0].detail =
        Some("no answer from 10.20.30.53:53, then from fd12:3456::53.".to_owned());
    report.destinations[0].host = "acme-corp.cloudflareaccess.com".to_owned();
    report.destinations[0].detail = Some("ICMP from 10.20.30.40, which is db-7".to_owned());
    report.findings[0].evidence.push(Evidence(
        "db-7 asked 9.9.9.9:5353 with /home/jo/ca.pem".to_owned(),
    ));
    report.findings[0].affects[0].host = "acme-corp.fed.cloudflareaccess.com".to_owned();
    report.findings[0]
        .remedy
        .commands
        .push("dig @10.20.30.53 acme-corp.cloudflareaccess.com".to_owned());
    report
}

/// A report and the places in it that can hold any text.
pub(crate) struct Texts {
    whole: Value,
    places: Vec<String>,
}

impl Texts {
    pub(crate) fn of(report: &Report) -> Self {
        let whole = serde_json::to_value(report).unwrap();
        let mut places = Vec::new();
        collect(&whole, String::new(), &mut places);
        places.retain(|place| read(behind(&whole, [place], "x")).is_some());
        Self { whole, places }
    }

    /// The report with `text` behind each of its texts.
    pub(crate) fn poisoned(&self, text: &str) -> Report {
        read(behind(&self.whole, &self.places, text)).unwrap()
    }
}

fn behind<'a>(whole: &Value, places: impl IntoIterator<Item = &'a String>, text: &str) -> Value {
    let mut changed = whole.clone();
    for place in places {
        let slot = changed.pointer_mut(place).unwrap();
        *slot = format!("{}{text}", slot.as_str().unwrap()).into();
    }
    changed
}

fn read(report: Value) -> Option<Report> {
    serde_json::from_value(report).ok()
}

fn collect(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::String(_) => pointers.push(pointer),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{pointer}/{index}"), pointers);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                collect(field, format!("{pointer}/{name}"), pointers);
            }
        }
        _ => {}
    }
}

fn lines(regions: usize) -> impl Iterator<Item = (Service, Family, usize)> {
    let services = [Service::Quic, Service::Http2].into_iter();
    services.flat_map(move |service| {
        (1..=regions).flat_map(move |region| Family::BOTH.map(|family| (service, family, region)))
    })
}

fn base(verdict: Verdict, summary: &str) -> Report {
    let protocol = |status| ProtocolReport {
        status,
        usable: true,
        regions: BTreeMap::new(),
    };
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool { name: "tunnelcheck".to_owned(), version: "0.1.0".to_owned() },
        started_at: "2026-11-21T12:00:00Z".to_owned(),
        duration_ms: Millis::from(1234.0),
        ended: Ended::Complete,
        host: Host {
            name: Some("host".to_owned()),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ipv4: FamilyState::Available { source: Some(address("198.51.100.7")) },
            ipv6: FamilyState::Unavailable { why: NoFamily::NoGlobalAddress },
            trusted_roots: 140,
            proxies: Vec::new(),
            udp_buffers: None,
            resolver_options: None,
            systemd: None,
        },
        options: options(),
        verdict,
        exit_code: exit_code(verdict, false),
        summary: summary.to_owned(),
        scope: "This holds for this program, user and network namespace; rules for other programs, users or containers may differ.".to_owned(),
        suggested_protocol: Some(Service::Quic),
        forecast: None,
        protocols: Protocols { quic: protocol(Verdict::Ready), http2: protocol(verdict) },
        dns: dns(),
        destinations: Vec::new(),
        own_rules: None,
        sni: vec![SniReport {
            name: "quic.cftunnel.com".to_owned(),
            transport: Transport::Udp,
            status: Status::Reachable,
            cause: None,
        }],
        findings: Vec::new(),
    }
}

/// The options of a check without arguments.
pub(crate) fn options() -> Options {
    Options {
        optional_hosts: Some(catalog::usual_optional_hosts(None).into()),
        ..Options::new()
    }
}

fn dns() -> DnsReport {
    let server = "10.0.0.2:53".parse().unwrap();
    let lookup = |record_type, name: &str, answers: Vec<Answer>| Lookup {
        name: name.to_owned(),
        record_type,
        via: Via::Resolver(server),
        status: LookupStatus::Ok,
        answers,
        unexpected: Vec::new(),
        elapsed_ms: Millis::from(1.5),
        detail: None,
        truncated: false,
    };
    let target = |text: &str| text.parse().unwrap();
    let srv = vec![
        target("1 1 7844 region1.v2.argotunnel.com"),
        target("2 1 7844 region2.v2.argotunnel.com"),
    ];
    let addresses = |from: u8| {
        (from..from + 10)
            .map(|n| Answer::Address([198, 41, 192, n].into()))
            .collect()
    };
    DnsReport {
        resolvers: vec![server],
        lookups: vec![
            lookup(
                RecordType::Srv,
                "_v2-origintunneld._tcp.argotunnel.com",
                srv,
            ),
            lookup(RecordType::A, "region1.v2.argotunnel.com", addresses(0)),
            lookup(RecordType::A, "region2.v2.argotunnel.com", addresses(100)),
            lookup(RecordType::A, "api.cloudflare.com", addresses(200)),
        ],
        over_tcp: Vec::new(),
    }
}

fn row(
    service: Service,
    family: Family,
    region: Option<usize>,
    status: Status,
    cause: Option<Cause>,
) -> Destination {
    let total = if region.is_some() { 10 } else { 2 };
    let reachable = match status {
        Status::Reachable => total,
        Status::Partial => total - 1,
        Status::Inconclusive => 3,
        _ => 0,
    };
    let rtt = |ms| RttRange {
        min: Millis::from(20.0),
        median: Millis::from(ms),
        max: Millis::from(400.0),
    };
    let mut row = Destination {
        host: region
            .map(|region| format!("region{region}.v2.argotunnel.com"))
            .unwrap_or_default(),
        port: if region.is_some() { 7844 } else { 443 },
        transport: service.transport(),
        service,
        sni: "quic.cftunnel.com".to_owned(),
        family,
        region: region.map(|region| format!("region{region}")),
        requirement: Requirement::Required,
        source: Source::Dns,
        status,
        cause,
        detail: None,
        addresses: AddressCount {
            total,
            probed: total,
            reachable,
        },
        rtt_ms: (reachable > 0).then(|| rtt(21.0)),
        probes: Vec::new(),
    };
    if reachable > 0 {
        row.probes.push(attempt(service, family, 1, passed()));
    } else if status == Status::Blocked {
        row.probes.push(attempt(
            service,
            family,
            1,
            Outcome::Unanswered {
                failure: ContactFailure::Silent,
            },
        ));
    }
    row
}

fn with_optional(report: &mut Report, status: impl Fn(Family) -> Status) {
    for host in ["api.cloudflare.com", "update.argotunnel.com", "github.com"] {
        for family in Family::BOTH {
            let status = status(family);
            let cause = (status == Status::Blocked).then_some(Cause::Rejected);
            let mut row = row(Service::Https, family, None, status, cause);
            row.requirement = Requirement::Optional;
            row.host = host.to_owned();
            report.destinations.push(row);
        }
    }
}

/// An attempt that passed, or did not.
pub(crate) fn attempt(service: Service, family: Family, number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        host: "region1.v2.argotunnel.com".to_owned(),
        role: Role::Probe,
        address: address(if family == Family::Ipv4 {
            "198.41.192.7"
        } else {
            "2606:4700:a0::1"
        }),
        port: 7844,
        transport: service.transport(),
        sni: "probe.cftunnel.com".to_owned(),
        profile: Profile::Cloudflared,
        attempt: number,
        started_ms: Millis::from(3.0),
        elapsed_ms: Millis::from(42.0),
        contact_ms: Some(Millis::from(21.0)),
        handshake_ms: Some(Millis::from(42.0)),
        sent: (service == Service::Quic).then_some(3),
        received: None,
        stray: Vec::new(),
        outcome,
    }
}

fn passed() -> Outcome {
    Outcome::Secured {
        secured: Secured {
            version: "TLSv1_3".to_owned(),
            group: Some("X25519MLKEM768".to_owned()),
            alpn: None,
            issuer: "CN=CloudFlare Origin SSL Certificate Authority".to_owned(),
            preface: Some(true),
            http_status: None,
            http_error: None,
        },
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
