//! PURE: why new rules go, and which exit code that is.

use crate::diff::Difference;
use crate::model::{Ended, ExitStatus, Report, Verdict};

/// Why new rules go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Ctrl-C, SIGTERM, or the terminal is gone.
    Interrupted,
    /// The guard was killed.
    GuardGone,
    /// A tool refused them.
    Refused(String),
    /// The deadline has passed.
    Expired,
    /// The check could not be made.
    Unchecked(String),
    /// Something required is lost.
    Lost,
    /// Something required is not known any more.
    Unknown,
    /// The answer was not yes, or nobody could be asked.
    Unconfirmed(&'static str),
}

impl Trouble {
    pub(super) fn words(&self) -> String {
        let words = match self {
            Self::Interrupted => "interrupted",
            Self::GuardGone => "the guard was ended",
            Self::Refused(why) => return format!("the rules could not be applied: {why}"),
            Self::Expired => "the deadline has passed",
            Self::Unchecked(why) => return format!("the check could not be made: {why}"),
            Self::Lost => "something required was lost",
            Self::Unknown => {
                "something required is not known any more; more time may help (--timeout, --deadline)"
            }
            Self::Unconfirmed(why) => why,
        };
        words.to_owned()
    }

    pub(super) const fn status(&self) -> ExitStatus {
        match self {
            Self::Lost => ExitStatus::Blocked,
            Self::Refused(_) => ExitStatus::Usage,
            _ => ExitStatus::Inconclusive,
        }
    }
}

/// Whether a check did not get to know all because of its time.
pub(super) fn ran_out(report: Option<&Report>) -> bool {
    report.is_some_and(|report| report.ended == Ended::Budget)
}

/// Rules are kept when nothing required is lost, and nothing required has become unknown.
pub(super) fn judge(difference: &Difference, after: Option<&Report>) -> Result<(), Trouble> {
    if difference.lost_required().next().is_some() {
        return Err(Trouble::Lost);
    }
    let unsure = after.is_some_and(|report| report.verdict == Verdict::Inconclusive);
    if unsure || difference.uncertain_required().next().is_some() {
        return Err(Trouble::Unknown);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::compare;
    use crate::model::Status;
    use crate::report::samples;

    #[test]
    fn doubt_is_no_reason_to_keep_rules() {
        let before = samples::ready();
        assert_eq!(judge(&compare(&before, &before), Some(&before)), Ok(()));
        let after = |status, verdict, ended| {
            let mut after = before.clone();
            after.destinations[0].status = status;
            (after.verdict, after.ended) = (verdict, ended);
            after
        };
        for (status, verdict, expected) in [
            (Status::Blocked, Verdict::Degraded, Trouble::Lost),
            (Status::Inconclusive, Verdict::Ready, Trouble::Unknown),
            (Status::Reachable, Verdict::Inconclusive, Trouble::Unknown),
        ] {
            let after = after(status, verdict, Ended::Budget);
            let judged = judge(&compare(&before, &after), Some(&after));
            assert_eq!(judged, Err(expected));
            assert!(ran_out(Some(&after)));
        }
        // Nothing was known before and nothing is now: no difference, and no reason to keep.
        let unknown = after(Status::Reachable, Verdict::Inconclusive, Ended::Complete);
        let judged = judge(&compare(&unknown, &unknown), Some(&unknown));
        assert_eq!(judged, Err(Trouble::Unknown));
        assert!(!ran_out(Some(&unknown)) && !ran_out(None));
    }

    #[test]
    fn only_what_was_refused_or_lost_is_certain() {
        let status = |trouble: Trouble| trouble.status().code();
        assert_eq!(status(Trouble::Lost), 1);
        assert_eq!(status(Trouble::Refused("no".to_owned())), 2);
        for trouble in [
            Trouble::Interrupted,
            Trouble::GuardGone,
            Trouble::Expired,
            Trouble::Unchecked("no".to_owned()),
            Trouble::Unknown,
            Trouble::Unconfirmed("no"),
        ] {
            assert_eq!(status(trouble), 4);
        }
    }
}
