//! What a run tells while it goes on, for a live view.

use super::{Family, Lookup, Service, Status};

/// Something has become known.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A lookup ended.
    LookedUp(Lookup),
    /// A destination is being probed, or what is known of it has changed.
    Row(RowProgress),
}

/// How far a destination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProgress {
    /// The host's name.
    pub host: String,
    /// `region1`, `region2`, …; absent for optional hosts.
    pub region: Option<String>,
    /// What is spoken there.
    pub service: Service,
    /// The family.
    pub family: Family,
    /// How many addresses pass so far.
    pub reachable: usize,
    /// How many addresses there are.
    pub total: usize,
    /// The status, once it is settled.
    pub settled: Option<Status>,
}
