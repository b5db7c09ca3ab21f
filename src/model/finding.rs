//! Findings: what is wrong, on what evidence, and what to do about it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Family, Transport};

/// Something worth telling, with its evidence and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The closed code that scripts and the documentation know it by.
    pub code: FindingCode,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it means for cloudflared, in a sentence or two.
    pub detail: String,
    /// The destinations it is about.
    pub affects: Vec<Affected>,
    /// What was seen, a sentence each; never empty for an error or a warning.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub remedy: Remedy,
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something required does not work.
    Error,
    /// It works, at a cost or at a risk.
    Warning,
    /// Good to know.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// A destination that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Affected {
    /// The destination's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its transport.
    pub transport: Transport,
    /// Its family.
    pub family: Family,
}

/// One thing that was seen, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Evidence(pub String);

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// A sentence.
    pub summary: String,
    /// Commands or 5-tuples, a line each; may be empty.
    pub commands: Vec<String>,
}

impl Remedy {
    /// The lines to be run, and after them the flows to be allowed.
    #[must_use]
    pub fn parts(&self) -> (Vec<&str>, Vec<&str>) {
        let is_flow = |line: &&str| {
            let what = line.split_once(" out to port ").map(|(what, _)| what);
            matches!(what, Some("TCP" | "UDP" | "TCP and UDP"))
        };
        let lines = self.commands.iter().map(String::as_str);
        lines.partition(|line| !is_flow(line))
    }
}

macro_rules! finding_codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)+) => {
        /// The closed list of findings; each has a heading in `docs/findings.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum FindingCode {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)+
        }

        impl FindingCode {
            /// Every code, most fundamental first: the order in which reports list findings.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it is written in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }
        }
    };
}

finding_codes! {
    /// The host has no usable address or no route at all.
    NoNetwork => "no-network",
    /// The run was interrupted before the evidence sufficed.
    RunInterrupted => "run-interrupted",
    /// The budget ended before the evidence sufficed.
    BudgetEnded => "budget-ended",
    /// The names of the edge's addresses do not resolve: cloudflared stops.
    DnsAddressesFailed => "dns-addresses-failed",
    /// Neither the resolver nor DNS over TLS has the SRV record: cloudflared stops.
    DnsSrvFailed => "dns-srv-failed",
    /// The SRV record names fewer than two targets: cloudflared refuses to start.
    DnsSrvTooFew => "dns-srv-too-few",
    /// The resolver answers with addresses that cannot be the edge.
    DnsSuspicious => "dns-suspicious",
    /// The resolver lacks the SRV record, and DNS over TLS has it.
    DnsDotFallback => "dns-dot-fallback",
    /// A resolver of the configuration gives no usable answer, and another one does.
    DnsResolverFailed => "dns-resolver-failed",
    /// Only one family's addresses are to be had from the resolver.
    DnsOneFamily => "dns-one-family",
    /// The answers differ from the documented addresses.
    DnsDrift => "dns-drift",
    /// All resolvers of the configuration are this host itself: the real ones are behind it.
    DnsLocalStub => "dns-local-stub",
    /// The family that `--edge-ip-version` asks for is missing on this host.
    FamilyMissing => "family-missing",
    /// The edge answers over IPv4 alone, and cloudflared may choose IPv6.
    Ipv6Broken => "ipv6-broken",
    /// The edge answers over IPv6 alone, and cloudflared chooses IPv4 and never falls back.
    Ipv4Broken => "ipv4-broken",
    /// This host's own packet filter refuses to send.
    LocalFirewall => "local-firewall",
    /// This host's routing table forbids or does not know the way.
    NoRoute => "no-route",
    /// UDP packets to the edge vanish.
    UdpDropped => "udp-dropped",
    /// TCP packets to the edge vanish.
    TcpDropped => "tcp-dropped",
    /// A firewall or router answers UDP with an ICMP error.
    UdpRejected => "udp-rejected",
    /// A firewall or router answers TCP with an ICMP error.
    TcpRejected => "tcp-rejected",
    /// A TCP reset answers the SYN.
    TcpReset => "tcp-reset",
    /// TCP connects, then the handshake is cut.
    Interrupted => "interrupted",
    /// The tunnel's server name is cut where another one passes.
    SniFiltered => "sni-filtered",
    /// A `ClientHello` as large as cloudflared's is dropped.
    LargeHelloDropped => "large-hello-dropped",
    /// A key exchange that is post-quantum only (`--post-quantum`) is refused.
    PostQuantumRefused => "post-quantum-refused",
    /// Something presents a certificate that cloudflared does not trust.
    TlsIntercepted => "tls-intercepted",
    /// The certificate is outside its validity by this host's clock.
    CertificateTime => "certificate-time",
    /// Something else than the edge answers.
    NotTheEdge => "not-the-edge",
    /// QUIC is recognised and cut.
    QuicFiltered => "quic-filtered",
    /// Datagrams of cloudflared's size do not pass.
    Mtu => "mtu",
    /// An error without a name of its own.
    Unexplained => "unexplained",
    /// The evidence on a required destination does not suffice.
    Undecided => "undecided",
    /// systemd kills cloudflared before its first connection.
    ServiceKilled => "service-killed",
    /// New flows to the edge stop being answered after some, and later ones are answered again.
    RateLimited => "rate-limited",
    /// The name of cloudflared's pre-checks is cut, and the tunnel's passes.
    ProbeNameFiltered => "probe-name-filtered",
    /// Somebody whose authority this host trusts stands between it and the edge.
    TlsInspected => "tls-inspected",
    /// The TLS handshake passes, but the edge's HTTP/2 preface does not come.
    PrefaceMissing => "preface-missing",
    /// The system has no certificate authorities, so nobody can be trusted.
    NoTrustedRoots => "no-trusted-roots",
    /// A proxy is configured, which cloudflared ignores for the tunnel.
    ProxyIgnored => "proxy-ignored",
    /// An optional host cannot be reached.
    OptionalBlocked => "optional-blocked",
    /// The kernel's socket buffers are smaller than cloudflared's QUIC library wants.
    UdpBuffers => "udp-buffers",
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
