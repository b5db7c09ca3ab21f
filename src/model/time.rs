//! Durations as reports write them, and moments of a run.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A duration in milliseconds, with two decimals in reports.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct Millis(f64);

impl Millis {
    /// The number as it is written in a report, in milliseconds. To reckon with it take [`Self::duration`].
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0 / 1000.0)
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self::from(duration.as_secs_f64() * 1000.0)
    }
}

impl From<f64> for Millis {
    /// A saved report may hold anything that JSON calls a number; what is no duration becomes 0.
    fn from(ms: f64) -> Self {
        // More than thirty years, or infinite, or not a number.
        if ms > 0.0 && ms < 1e12 {
            Self((ms * 100.0).round() / 100.0)
        } else {
            Self(0.0)
        }
    }
}

impl From<Millis> for f64 {
    fn from(millis: Millis) -> Self {
        millis.0
    }
}

impl fmt::Display for Millis {
    /// Three significant figures are what a round trip deserves: `0.21 ms`, `21 ms`, `1.2 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            ms if ms < 1.0 => format!("{ms:.2} ms"),
            ms if ms < 10.0 => format!("{ms:.1} ms"),
            ms if ms < 1000.0 => format!("{ms:.0} ms"),
            ms => format!("{:.1} s", ms / 1000.0),
        };
        f.pad(&text)
    }
}

/// A moment of a run, by the time since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The start of the run.
    pub const START: Self = Self(Duration::ZERO);

    /// Later than every moment of a run.
    pub const NEVER: Self = Self(Duration::MAX);

    /// The moment that comes so long after the start of the run.
    #[must_use]
    pub const fn after(start: Duration) -> Self {
        Self(start)
    }

    /// How much later it is than another moment; nothing if it is earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// So much later, or [`Moment::NEVER`].
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}
