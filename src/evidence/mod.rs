//! PURE: how much silence proves something.
//!
//! Silence is what loss, a slow path, a rate limit and a firewall have in common. It becomes
//! evidence only by comparison: with the round-trip times and the losses of what did answer
//! ([`PathEstimate`]), over the time in which failures count ([`Window`]). [`SilenceTest`] has both and
//! says what is proven. The rule and its error probability are explained in `docs/evidence.md`; its
//! constants are in `tuning.rs`.

mod flows;
mod loss;
mod path;
mod silence;
pub(crate) mod tuning;
mod window;

pub use path::PathEstimate;
pub use silence::{ControlResult, SilenceTest};
pub use tuning::{CONTROLS_AT_ONCE, ERROR_BOUND};
pub use window::Window;

pub(crate) use flows::{Peer, first_packet_schedule, peer, sorted, upper_quartile, was_refused};
pub(crate) use loss::loss_bound;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
