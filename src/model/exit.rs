//! What the process tells its caller: one number for each answer.

use super::Verdict;

/// How the process ends. The numbers are part of the contract with scripts: `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitStatus {
    /// A tunnel can be established, and nothing required is blocked.
    Ready = 0,
    /// No tunnel can be established with these options; for `rules --check-drift`, that a rule file
    /// lacks something that a tunnel needs.
    Blocked = 1,
    /// Wrong usage, before anything was sent; or a report that cannot be read or written.
    Usage = 2,
    /// A tunnel can be established, but something required is blocked.
    Degraded = 3,
    /// Interrupted, or out of time, before the evidence sufficed.
    Inconclusive = 4,
    /// A rehearsal could not bring the old rules back: somebody has to look.
    Unrestored = 5,
}

impl ExitStatus {
    /// The status that goes with a verdict.
    ///
    /// | verdict | exit | with `--allow-degraded` |
    /// | --- | --- | --- |
    /// | ready | 0 | 0 |
    /// | degraded | 3 | 0 |
    /// | blocked | 1 | 1 |
    /// | inconclusive | 4 | 4 |
    #[must_use]
    pub const fn of(verdict: Verdict, allow_degraded: bool) -> Self {
        match verdict {
            Verdict::Ready => Self::Ready,
            Verdict::Degraded if allow_degraded => Self::Ready,
            Verdict::Degraded => Self::Degraded,
            Verdict::Blocked => Self::Blocked,
            // Only a single protocol is ever skipped, never a whole run: a file that says so
            // has no answer to give.
            Verdict::Inconclusive | Verdict::Skipped => Self::Inconclusive,
        }
    }

    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// The number for a verdict under `--allow-degraded` or without, as reports state it.
#[must_use]
pub const fn exit_code(verdict: Verdict, allow_degraded: bool) -> u8 {
    ExitStatus::of(verdict, allow_degraded).code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let strict = |verdict| exit_code(verdict, false);
        assert_eq!(strict(Verdict::Ready), 0);
        assert_eq!(strict(Verdict::Blocked), 1);
        assert_eq!(ExitStatus::Usage.code(), 2);
        assert_eq!(strict(Verdict::Degraded), 3);
        assert_eq!(strict(Verdict::Inconclusive), 4);
        assert_eq!(ExitStatus::Unrestored.code(), 5);
    }

    #[test]
    fn allow_degraded_touches_nothing_but_degraded() {
        let lenient = |verdict| exit_code(verdict, true);
        assert_eq!(lenient(Verdict::Degraded), 0);
        assert_eq!(lenient(Verdict::Blocked), 1);
        assert_eq!(lenient(Verdict::Inconclusive), 4);
    }
}
