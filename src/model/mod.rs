//! The words of the domain. Every other module imports these and they import nothing but each other.

mod dns;
mod environment;
mod event;
mod failure;
mod finding;
mod forecast;
mod network;
mod observation;
mod probe;
mod recorded;
mod report;
mod status;
mod time;

pub use dns::{Answer, Lookup, LookupStatus, RecordType, Via};
pub use environment::{Proxy, ResolverOptions, UdpBuffers};
pub use event::{Event, RowProgress};
pub use failure::{
    ContactFailure, DistrustKind, HandshakeFailure, IcmpError, OsError, UntrustedChain,
};
pub use finding::{Affected, Evidence, Finding, FindingCode, Remedy, Severity};
pub use forecast::{
    Forecast, ForecastStep, Killed, Prospect, ServiceStart, ServiceUnit, Span, StepKind, Systemd,
    UnitSource,
};
pub use network::{
    Family, FamilyState, Host, NoFamily, Requirement, Service, Transport, asks_all_resolvers,
};
pub(crate) use observation::is_host_name;
pub use observation::{
    EdgeAddress, Ended, IpVersionChoice, Observations, OptionalHost, Options, ProtocolChoice,
    Region,
};
pub use probe::{Attempt, Outcome, Profile, Role, Secured, StrayError};
pub use report::{
    AddressCount, Destination, DnsReport, ProtocolReport, Protocols, RegionReport, Report,
    RttRange, SCHEMA_VERSION, SniReport, Source, Tool,
};
pub use status::{Cause, Status, Verdict};
pub use time::{Millis, Moment};
