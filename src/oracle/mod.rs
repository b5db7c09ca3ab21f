//! The kernel oracle: what a ruleset does with a flow, answered by the kernel itself.
//!
//! The rules are loaded into an empty network namespace, the flows are sent, and a far end answers
//! them. Nothing of this host is changed, and nothing is sent outside of the scratch namespaces.
//!
//! ```text
//!   container   eth0 ── BRIDGE  host, with the rules  INTERFACE ── far   far end: owns all addresses
//! ```
//!
//! The namespaces belong to a worker, which is this program once more (see [`serve_if_asked`]), so that
//! user namespaces work without root, and a time limit holds.

mod answer;
mod conditions;
mod error;
mod far;
mod guard;
mod judge;
mod listing;
mod load;
mod question;
mod run;
mod saved;
mod scratch;
mod sources;
mod tools;
mod trace;
mod trial;
mod worker;

pub use answer::{
    Answer, Answers, Closing, Condition, Direction, On, Rule, Silence, StandIn, What,
};
pub use error::OracleError;
pub(crate) use question::way_out;
pub use question::{Context, Entry, Flow, Format, Part, Question, User};
pub(crate) use run::can_be_asked;
pub use run::{ask, serve_if_asked};
#[cfg(feature = "cli")]
pub(crate) use tools::PATH;
pub(crate) use tools::find as program;
