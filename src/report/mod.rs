//! The report in its forms. Each form renders the same `Report` into a writer.

mod escape;
#[cfg(feature = "cli")]
mod explain;
#[cfg(feature = "cli")]
mod forms;
#[cfg(feature = "cli")]
mod github;
mod json;
#[cfg(feature = "cli")]
mod junit;
#[cfg(feature = "cli")]
mod markdown;
#[cfg(feature = "cli")]
mod progress;
#[cfg(feature = "cli")]
mod prometheus;
mod redact;
#[cfg(feature = "cli")]
mod rows;
mod strings;
#[cfg(feature = "cli")]
mod style;
#[cfg(feature = "cli")]
mod table;

// The readers are tools of Unix, and nothing that they read depends on the system.
#[cfg(test)]
#[cfg(all(unix, feature = "cli"))]
mod proofs;
#[cfg(test)]
pub(crate) mod samples;

pub use escape::escape;
#[cfg(feature = "cli")]
pub use explain::{Topic, explain};
#[cfg(feature = "cli")]
pub use forms::{Content, Format, json_line, render};
pub use json::{MAX_REPORT_BYTES, ReadError, load, read};
#[cfg(feature = "cli")]
pub use progress::Progress;
pub use redact::redact;
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) use style::wrap;
#[cfg(feature = "cli")]
pub use style::{Style, Verbosity};
