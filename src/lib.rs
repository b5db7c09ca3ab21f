//! `tunnelcheck` checks whether cloudflared can reach Cloudflare's edge from a network, and says what
//! blocks it.
//!
//! A [`Check`] looks at the network and returns a [`Report`]: a verdict, every destination that
//! cloudflared needs, and findings with their evidence and remedies. It runs on the caller's tokio
//! runtime, writes nothing and reads no arguments.
//!
//! ```no_run
//! # async fn check() -> Result<(), tunnelcheck::CheckError> {
//! use tunnelcheck::{Check, model::{ProtocolChoice, Verdict}};
//!
//! let report = Check::new().protocol(ProtocolChoice::Quic).run().await?;
//! if report.verdict != Verdict::Ready {
//!     for finding in &report.findings {
//!         eprintln!("{}: {}", finding.title, finding.remedy.summary);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A report holds everything that was seen. So a saved one can be diagnosed again by a later version,
//! and compared with another one, without a network:
//!
//! ```
//! use tunnelcheck::{Report, compare, diagnose, model::Verdict};
//!
//! # fn main() -> Result<(), tunnelcheck::ReadError> {
//! let saved = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/embedding.json"));
//! let before = Report::from_json(saved)?;
//! let after = diagnose(before.clone().into_observations());
//! assert_eq!(after.verdict, Verdict::Blocked);
//! assert_eq!(after.findings[0].code.as_str(), "no-network");
//!
//! let difference = compare(&before, &after);
//! assert!(difference.worse.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! The command line, the terminal and the forms of a report for people need the feature `cli`, which is
//! on unless it is turned off.

#![cfg_attr(
    not(feature = "cli"),
    expect(dead_code, reason = "parts of the stages serve the program only")
)]

#[cfg(feature = "cli")]
mod app;
#[cfg(feature = "cli")]
mod blocking;
mod catalog;
mod check;
mod diagnose;
mod diff;
mod encoding;
mod evidence;
mod forecast;
pub mod model;
mod net;
mod observe;
#[cfg(target_os = "linux")]
mod oracle;
mod own_rules;
mod plan;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod rehearse;
mod report;
mod rules;
mod targets;

pub use crate::check::{Check, CheckError};
pub use crate::diagnose::diagnose;
pub use crate::diff::{Difference, compare};
pub use crate::model::{Event, Observations, Options, Report};
pub use crate::report::ReadError;
pub use crate::rules::Egress;

/// What differs between two reports: the types of a [`Difference`].
pub mod difference {
    pub use crate::diff::{
        Caveat, Change, DestinationState, Difference, Level, Move, Outcome, Side, Standing, State,
        Subject, Trend, compare,
    };
}

/// What a firewall has to let out: the types of an [`Egress`], and the dialects that it is written in.
pub mod firewall {
    pub use crate::rules::{
        Address, Cidr, Dialect, Distribution, Egress, Entry, Lockdown, Origin, Purpose, Session,
        Sources, Ssh, Surroundings, Today,
    };
}

/// The examples of the page are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
mod embedding {}

/// What the program, its tests and fuzzers use. It changes without notice: no promise goes with it.
#[doc(hidden)]
pub mod internal {
    macro_rules! open {
        ($($(#[$cfg:meta])* $module:ident),* $(,)?) => {
            $($(#[$cfg])* pub mod $module {
                pub use crate::$module::*;
            })*
        };
    }

    open! {
        #[cfg(feature = "cli")] app,
        #[cfg(feature = "cli")] blocking,
        catalog, check, diagnose, diff, evidence, forecast, model, net, observe,
        #[cfg(target_os = "linux")] oracle,
        plan,
        #[cfg(all(feature = "cli", target_os = "linux"))] rehearse,
        report, rules, targets,
    }
}
