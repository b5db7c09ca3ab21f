//! What the rehearsal and its guard say to each other: one line a word.

/// What the guard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Put the new rules into force.
    Apply,
    /// Leave them in force, and go.
    Keep,
    /// Bring the old ones back, and go.
    Restore,
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It has the old rules and stands in a session of its own: nothing can go wrong any more that
    /// would leave the new rules in force.
    Ready,
    /// The new rules are in force.
    Applied,
    /// A tool refused the new rules, for this reason; the old ones come back.
    Refused(String),
    /// The time is over; the old rules come back.
    Expired,
    /// It brings the old rules back, and is at it.
    Working,
    /// Nothing was touched, so there was nothing to bring back.
    Untouched,
    /// The new rules stay.
    Kept,
    /// The old rules are back.
    Restored,
    /// The old rules are not back, for this reason.
    Unrestored(String),
}

impl Order {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Keep => "keep",
            Self::Restore => "restore",
        }
    }

    /// Reads a word; anything unknown is none.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        [Self::Apply, Self::Keep, Self::Restore]
            .into_iter()
            .find(|order| order.word() == word)
    }
}

impl Said {
    /// The line for it.
    #[must_use]
    pub fn line(&self) -> String {
        let line = match self {
            Self::Ready => "ready",
            Self::Applied => "applied",
            Self::Refused(why) => return format!("refused {}", one_line(why)),
            Self::Expired => "expired",
            Self::Working => "working",
            Self::Untouched => "untouched",
            Self::Kept => "kept",
            Self::Restored => "restored",
            Self::Unrestored(why) => return format!("unrestored {}", one_line(why)),
        };
        line.to_owned()
    }

    /// Reads a line; anything unknown is none.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "ready" => Self::Ready,
            "applied" => Self::Applied,
            "refused" => Self::Refused(rest.to_owned()),
            "expired" => Self::Expired,
            "working" => Self::Working,
            "untouched" => Self::Untouched,
            "kept" => Self::Kept,
            "restored" => Self::Restored,
            "unrestored" => Self::Unrestored(rest.to_owned()),
            _ => return None,
        })
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for said in [
            Said::Ready,
            Said::Applied,
            Said::Refused("line 2: no".to_owned()),
            Said::Expired,
            Said::Working,
            Said::Untouched,
            Said::Kept,
            Said::Restored,
            Said::Unrestored("nft: no".to_owned()),
        ] {
            assert_eq!(Said::read(&said.line()), Some(said));
        }
        assert_eq!(Said::Refused("a\nb".to_owned()).line(), "refused a b");
        assert_eq!(Said::read("table ip x {"), None);
        for order in [Order::Apply, Order::Keep, Order::Restore] {
            assert_eq!(Order::read(order.word()), Some(order));
        }
        assert_eq!(Order::read("keep it"), None);
    }
}
