//! Whether rules that are there still let out what is needed today (`rules --check-drift`).
//!
//! [`Given`] is what was recognised in the files; [`Comparison`] holds it against an
//! [`Egress`](super::Egress). Who judges depends on what the rules are for:
//!
//! | rules | judge |
//! | --- | --- |
//! | nftables, iptables | the kernel (`oracle`) |
//! | lists of clouds and clusters, tables | their types, and one table of decisions (`list.rs`) |
//! | a file that `tunnelcheck rules` printed | what it would print now (`own.rs`) |
//! | anything else | refused |

mod aws;
mod azure;
mod cluster;
mod comparison;
mod fate;
mod filters;
mod google;
#[cfg(target_os = "linux")]
mod in_force;
#[cfg(target_os = "linux")]
mod kernel;
mod list;
mod own;
mod recognise;
mod run;
mod table;
mod terraform;
mod viewpoint;

pub use self::comparison::{Comparison, Gap, Subject, targets};
pub use self::fate::{Fate, Target};
pub use self::filters::{Filter, FilterFormat, Filters};
#[cfg(target_os = "linux")]
pub use self::in_force::in_force;
#[cfg(target_os = "linux")]
pub use self::kernel::verify;
pub use self::own::{Difference, Printed};
pub use self::recognise::{Given, Lists, Refused, read};
pub use self::run::{Check, Reprint};
pub use self::viewpoint::{Container, Viewpoint};

/// The longest input that is read, in bytes.
pub const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests;
