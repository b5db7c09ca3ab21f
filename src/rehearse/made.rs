//! The rules that are rehearsed, made where they change nothing, and judged before this host is touched.

use super::RehearsalError;
use super::effect::Effect;
use super::format::Rules;
use super::ruleset::plan;
use super::script;
use super::snapshot::Snapshot;
use super::steps::{Step, of_file, of_plan};
use super::tell::Tell;
use super::tools::Tools;

/// How many lines of a difference are shown.
const MOST_LINES: usize = 12;

/// What the rules come to.
pub(super) struct Made {
    /// What puts them into force.
    pub(super) steps: Vec<Step>,
    /// All rules that are in force then.
    pub(super) rules: Snapshot,
    effect: Effect,
}

/// Makes the rules from a copy of the present ones.
pub(super) fn make(
    rules: &Rules,
    present: &Snapshot,
    tools: &Tools,
) -> Result<Made, RehearsalError> {
    let (steps, ruleset) = match rules {
        Rules::Script(text) => (Vec::new(), script::run(text, present)?),
        Rules::Nft(_) | Rules::Iptables(_) => {
            let steps = of_file(rules);
            let made = present.with(tools, &steps);
            (steps, made.map_err(RehearsalError::Rules)?)
        }
    };
    let effect = Effect::of(&present.ruleset, &ruleset);
    let made = Snapshot::of(ruleset, tools).map_err(RehearsalError::Made)?;
    let steps = match rules {
        Rules::Script(_) => of_plan(&plan(&made.ruleset, made.by_iptables(), &present.ruleset)),
        Rules::Nft(_) | Rules::Iptables(_) => steps,
    };
    Ok(Made {
        steps,
        rules: made,
        effect,
    })
}

impl Made {
    /// Rules that nobody can want are refused.
    pub(super) fn judge(&self, may_remove: &[String]) -> Result<(), RehearsalError> {
        if self.effect.idle && (self.effect.empty || !self.effect.lines.is_empty()) {
            return Err(RehearsalError::Idle);
        }
        let left = |removed: &&super::effect::Removed| {
            !may_remove.iter().any(|leave| removed.is_in(leave))
        };
        let removed: Vec<_> = self.effect.removed.iter().filter(left).collect();
        if removed.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = removed.iter().map(|removed| removed.name()).collect();
        let mut leave: Vec<String> = removed.iter().map(|removed| removed.leave()).collect();
        leave.dedup();
        Err(RehearsalError::Removes(format!(
            "the rules delete and do not make anew: {} (which may be Docker's or another program's); if they may go, add {}",
            names.join(", "),
            leave.join(" ")
        )))
    }

    /// Says what is different.
    pub(super) fn tell(&self, tell: &mut Tell) {
        let lines = &self.effect.lines;
        if lines.is_empty() {
            tell.step("change", "none; these rules are in force already");
        }
        for line in lines.iter().take(MOST_LINES) {
            tell.step("change", line);
        }
        let more = lines.len().saturating_sub(MOST_LINES);
        if more > 0 {
            tell.step("change", &format!("and {more} more tables"));
        }
    }
}
