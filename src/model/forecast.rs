//! What cloudflared will do from its start in this network.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IpVersionChoice, ProtocolChoice, Service};

/// What cloudflared does from its start with these options in this network.
///
/// A prediction, not an observation: it simulates the measured behaviour of one version of cloudflared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// The version whose behaviour it describes, such as `cloudflared 2026.8.2`.
    pub based_on: String,
    /// How the start ends.
    pub outcome: Prospect,
    /// The protocol of the first connection; null when there is none, or when chance decides.
    pub protocol: Option<Service>,
    /// When the first connection is registered, in seconds from the start of the process.
    pub first_connection_s: Option<Span>,
    /// When all four connections are registered, in seconds from the start of the process.
    pub fourth_connection_s: Option<Span>,
    /// When the process exits by itself, in seconds from its start.
    pub exit_after_s: Option<f64>,
    /// Whether systemd lets the start finish; null without systemd.
    pub service_start: Option<ServiceStart>,
    /// What happens when, in order of time.
    pub steps: Vec<ForecastStep>,
}

/// How a start of cloudflared ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prospect {
    /// It gets a connection.
    Connects,
    /// It runs on and never gets one.
    Never,
    /// It exits by itself before it has one.
    Exits,
}

impl fmt::Display for Prospect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connects => "connects",
            Self::Never => "never connects",
            Self::Exits => "exits",
        })
    }
}

/// A time that chance decides, in seconds. 995 of 1000 starts are between `min` and `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The earliest.
    pub min: f64,
    /// The time by which half of the starts are there.
    pub median: f64,
    /// The latest.
    pub max: f64,
}

/// A start of cloudflared as a service of systemd, whose start limit may end it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStart {
    /// `TimeoutStartSec` in seconds: how long the first connection may take. Null when there is no limit.
    pub timeout_s: Option<f64>,
    /// Whether systemd kills the process before its first connection.
    pub killed: Killed,
    /// Where the limit comes from.
    pub source: UnitSource,
    /// The file of the unit that was read; null when none was.
    pub unit: Option<String>,
}

/// Whether systemd kills a service before it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Killed {
    /// It is ready in time.
    Never,
    /// Chance decides.
    Sometimes,
    /// At every start, for ever.
    Always,
}

/// Where the start limit of a service comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitSource {
    /// A unit of cloudflared was read on this host.
    Read,
    /// No unit was found; the limit is that of the unit which `cloudflared service install` writes.
    Assumed,
}

/// One event of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastStep {
    /// When, in seconds from the start of the process.
    pub at_s: Span,
    /// What happens.
    pub what: StepKind,
    /// The same in a sentence.
    pub text: String,
}

/// The events of a start that a forecast lists.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The lookups are done and the first dial begins.
    FirstDial,
    /// The first dial has failed.
    FirstFailure,
    /// systemd kills the service.
    ServiceKilled,
    /// QUIC is given up for HTTP/2.
    Fallback,
    /// The first connection is registered; systemd calls the service started.
    FirstConnection,
    /// All four connections are registered.
    FourthConnection,
    /// The process exits.
    Exit,
}

/// What this host runs services with, as far as it decides what becomes of cloudflared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Systemd {
    /// The unit of cloudflared, if there is one that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<ServiceUnit>,
}

/// A unit `cloudflared.service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceUnit {
    /// The file that defines it.
    pub path: String,
    /// Whether systemd waits for cloudflared to report its first connection (`Type=notify`).
    pub waits_for_ready: bool,
    /// `TimeoutStartSec` in milliseconds; absent when there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout_ms: Option<u64>,
    /// `--protocol` of its command line, or `TUNNEL_TRANSPORT_PROTOCOL` of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolChoice>,
    /// `--edge-ip-version` of its command line, or `TUNNEL_EDGE_IP_VERSION` of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_ip_version: Option<IpVersionChoice>,
    /// Whether these are all the options that decide: false when others are set, or may be set in a file
    /// that was not read.
    pub options_known: bool,
}
