//! The words of the domain. Every other module imports these and they import nothing but each other.

mod dns;
mod environment;
mod event;
mod exit;
mod failure;
mod finding;
mod forecast;
mod host;
mod network;
mod observation;
mod options;
mod own_rules;
mod probe;
mod report;
mod status;
mod time;

pub use dns::{Answer, Lookup, LookupStatus, RecordType, Via};
pub use environment::{Proxy, ResolverOptions, UdpBuffers};
pub use event::{Event, RowProgress};
pub use exit::{ExitStatus, exit_code};
pub use failure::{
    ContactFailure, DistrustKind, HandshakeFailure, IcmpError, OsError, UntrustedChain,
};
pub use finding::{Affected, Evidence, Finding, FindingCode, Remedy, Severity};
pub use forecast::{
    Forecast, ForecastStep, Killed, Prospect, ServiceStart, ServiceUnit, Span, StepKind, Systemd,
    UnitSource,
};
pub use host::{FamilyState, Host, NoFamily, asks_all_resolvers};
pub use network::{Family, Requirement, Service, Transport};
pub use observation::{Ended, Observations};
#[cfg(feature = "cli")]
pub(crate) use options::is_host_name;
pub use options::{
    EdgeAddress, IpVersionChoice, OptionalHost, Options, ProtocolChoice, Region, UnknownChoice,
};
pub use own_rules::{OwnFate, OwnFlow, OwnRule, OwnRules};
pub use probe::{Attempt, Outcome, Profile, Role, Secured, StrayError};
pub use report::{
    AddressCount, Destination, DnsReport, ProtocolReport, Protocols, RegionReport, Report,
    RttRange, SCHEMA_VERSION, SniReport, Source, Tool,
};
pub use status::{Cause, Status, Verdict};
pub use time::{Millis, Moment};
