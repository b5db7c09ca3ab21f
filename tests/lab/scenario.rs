//! Scenarios as data: what the world is like, and what the report has to say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Outcome;
use crate::expect::Expect;
use crate::internet::{Family, RESOLVERS};
use crate::pki::{Issuer, KeyExchange};
use crate::wire::Wire;

/// One world and the truth about it. What is not said is all open, and reachable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Unique among all files: reports and golden cases are filed under it.
    pub(crate) name: String,
    /// The file that it came from, without its ending.
    #[serde(skip)]
    file: String,
    /// What happened to this network, in a sentence.
    pub(crate) about: String,
    /// Arguments of the product, beside `--format json`.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Environment of the product, beside `PATH` and `SSL_CERT_FILE`.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) client: Client,
    #[serde(default)]
    pub(crate) router: Router,
    #[serde(default)]
    pub(crate) edge: Edge,
    /// A wire in user space between the router and the edge.
    pub(crate) wire: Option<Wire>,
    /// Departures of the resolvers from the truth; the first that matches a question decides.
    #[serde(default)]
    pub(crate) dns: Vec<DnsRule>,
    /// Whoever answers at the router instead of the edge.
    #[serde(default)]
    pub(crate) impostors: Vec<Impostor>,
    pub(crate) expect: Expect,
}

/// The host on which the product runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Client {
    /// The families in which it has a global address.
    pub(crate) families: Vec<Family>,
    /// The families in which it has a default route.
    pub(crate) default_routes: Vec<Family>,
    /// More lines for `ip -batch`, such as `route add unreachable 198.41.192.0/24`.
    pub(crate) ip: Vec<String>,
    /// The `nameserver` lines of its resolv.conf.
    pub(crate) resolvers: Vec<String>,
    /// More lines of its hosts file.
    pub(crate) hosts: Vec<String>,
    /// Rules of its own nftables OUTPUT chain.
    pub(crate) output: Vec<String>,
    /// Its own iptables rules, each beginning with `iptables` or `ip6tables`.
    pub(crate) iptables: Vec<String>,
    /// The number of the user who runs the product, if not root.
    pub(crate) user: Option<u32>,
    /// Whether the corporate inspector's CA is in its trust store.
    pub(crate) trusts_inspector: bool,
    /// Whether systemd runs its services. It does not, whatever the machine has.
    pub(crate) systemd: bool,
    /// Its `cloudflared.service`; needs `systemd`.
    pub(crate) unit: Option<String>,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            families: Family::BOTH.to_vec(),
            default_routes: Family::BOTH.to_vec(),
            ip: Vec::new(),
            resolvers: vec![RESOLVERS[0].to_owned()],
            hosts: Vec::new(),
            output: Vec::new(),
            iptables: Vec::new(),
            user: None,
            trusts_inspector: false,
            systemd: false,
            unit: None,
        }
    }
}

/// The firewall between the client and the edge.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Router {
    /// Rules of its nftables FORWARD chain. Its interfaces are `lan` and `wan`.
    pub(crate) forward: Vec<String>,
    /// Rules of its nftables OUTPUT chain, for what it sends itself: its ICMP errors.
    pub(crate) output: Vec<String>,
    /// More lines for `ip -batch`, such as a route with an MTU.
    pub(crate) ip: Vec<String>,
    /// Its iptables rules, each beginning with `iptables` or `ip6tables`.
    pub(crate) iptables: Vec<String>,
    /// Answers every packet with an ICMP error where the rules say so. Linux sends about six at
    /// once and then one a second, so that of many rejected rows some may see none. Of IPv4 this holds for
    /// rules only: what the router has no route for has a limit of its own, five at once and then one a
    /// second, which the kernel has for the whole machine.
    pub(crate) unlimited_icmp: bool,
}

/// The far end, where a firewall may stand as well.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Edge {
    /// Rules of its nftables INPUT chain.
    pub(crate) input: Vec<String>,
    /// As the router's.
    pub(crate) unlimited_icmp: bool,
}

impl Client {
    /// The families in which packets leave this host.
    pub(crate) fn routed(&self) -> Vec<Family> {
        let routed = |family: &Family| self.default_routes.contains(family);
        self.families.iter().copied().filter(routed).collect()
    }
}

/// How resolvers answer some questions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DnsRule {
    /// A name, `*.suffix`, or `*` for every name.
    #[serde(default = "any_name")]
    pub(crate) name: String,
    /// The record types concerned, every type when empty.
    #[serde(default)]
    pub(crate) types: Vec<String>,
    /// The resolver concerned, each of them when absent.
    #[serde(default)]
    pub(crate) resolver: Option<IpAddr>,
    /// The transports concerned.
    #[serde(default = "plain_dns")]
    pub(crate) via: Vec<Via>,
    pub(crate) answer: Answer,
}

fn any_name() -> String {
    "*".to_owned()
}

fn plain_dns() -> Vec<Via> {
    vec![Via::Udp, Via::Tcp]
}

/// The transport of a DNS question.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Via {
    Udp,
    Tcp,
    Dot,
}

/// What a resolver does with a question.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Nxdomain,
    /// The name exists, records of this type do not.
    Nodata,
    Servfail,
    /// SERVFAIL to the first question for each name and type, then the truth.
    ServfailFirst,
    Refused,
    /// No answer at all.
    Silent,
    /// The TC bit over UDP; the truth over TCP.
    Truncated,
    /// Bytes that are no DNS message.
    Garbage,
    /// The truth, so many milliseconds later.
    DelayedMs(u64),
    /// A denial, so many milliseconds later.
    NxdomainAfterMs(u64),
    /// These addresses, those of the question's type.
    Addresses(Vec<IpAddr>),
    /// These SRV targets in this order, port 7844.
    Targets(Vec<String>),
}

/// A middlebox on the router in whose hands flows fall.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Impostor {
    /// The destinations concerned, both regions when empty.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    #[serde(default = "both_families")]
    pub(crate) families: Vec<Family>,
    #[serde(default = "tunnel_port")]
    pub(crate) port: u16,
    pub(crate) behaviour: Behaviour,
}

fn both_families() -> Vec<Family> {
    Family::BOTH.to_vec()
}

fn tunnel_port() -> u16 {
    7844
}

/// What an impostor does. The first ones wait on TCP, those from `Quic` on wait on UDP.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Behaviour {
    /// Completes the handshake; sends the edge's HTTP/2 preface or waits for the client to speak.
    Tls {
        #[serde(default)]
        issuer: Issuer,
        #[serde(default)]
        key_exchange: KeyExchange,
        #[serde(default)]
        preface: bool,
    },
    /// Answers with a redirect in plain text.
    Portal,
    /// Greets in plain text, as a mail server does.
    PlainText,
    /// Accepts and never says a word.
    Tarpit,
    /// Accepts and closes.
    Close,
    /// Accepts and resets.
    Reset,
    /// Accepts, and refuses the `ClientHello` with a TLS alert, as a server without a common version does.
    Alert,
    /// Accepts, and asks for P-256 in a `HelloRetryRequest`, whether the client has offered it or not.
    AsksForP256,
    /// A QUIC server with this issuer and application protocol.
    Quic {
        #[serde(default)]
        issuer: Issuer,
        #[serde(default)]
        key_exchange: KeyExchange,
        #[serde(default = "tunnel_alpn")]
        alpn: String,
    },
    /// A QUIC server that answers unknown versions and completes no handshake.
    VersionNegotiation,
    /// A QUIC server of another version: it answers everything with Version Negotiation.
    OtherVersion,
    /// A QUIC server that refuses every connection.
    RefusesQuic,
    /// Answers every datagram with a text.
    Nonsense,
}

fn tunnel_alpn() -> String {
    "argotunnel".to_owned()
}

impl Behaviour {
    /// The transport on which this impostor waits, as nft names it.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Quic { .. }
            | Self::VersionNegotiation
            | Self::OtherVersion
            | Self::RefusesQuic
            | Self::Nonsense => "udp",
            _ => "tcp",
        }
    }
}

impl Scenario {
    /// The name under which the test runner lists it.
    pub(crate) fn trial_name(&self) -> String {
        format!("{}::{}", self.file, self.name)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

/// Reads every file of `scenarios/`, in the order of their names, or the one that is asked for.
pub(crate) fn load() -> Outcome<Vec<Scenario>> {
    let files = match std::env::var_os("TUNNELCHECK_LAB_SCENARIOS") {
        Some(file) => vec![PathBuf::from(file)],
        None => own_files()?,
    };
    let scenarios = files
        .iter()
        .map(|path| read(path))
        .collect::<Outcome<Vec<_>>>()?
        .into_iter()
        .flatten();
    let mut names = BTreeSet::new();
    let scenarios: Vec<Scenario> = scenarios.collect();
    match scenarios
        .iter()
        .find(|scenario| !names.insert(&scenario.name))
    {
        Some(twice) => Err(format!("two scenarios are called {}", twice.name).into()),
        None => Ok(scenarios),
    }
}

fn own_files() -> Outcome<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Outcome<Vec<Scenario>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: File =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(file
        .scenario
        .into_iter()
        .map(|scenario| Scenario {
            file: stem.clone(),
            ..scenario
        })
        .collect())
}
