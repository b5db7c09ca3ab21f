//! PURE: what puts rules into force: the tools in their order, and what each of them reads.

use serde::{Deserialize, Serialize};

use super::format::Rules;
use super::ruleset::{Piece, Plan};
use crate::model::Family;

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which tool, and how.
    pub loader: Loader,
    /// What it reads.
    pub text: String,
}

/// Who reads rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loader {
    /// `nft -f`: one transaction.
    Nft,
    /// `iptables-restore` or `ip6tables-restore`, as an administrator would run it.
    Restore(Family),
    /// The same over nftables, for chains that are there already, with counters.
    Refill(Family),
    /// The same over the old interface of the kernel, with counters.
    Legacy(Family),
}

/// Files of nft and iptables are given to their tools as they are; a script has none.
#[must_use]
pub fn of_file(rules: &Rules) -> Vec<Step> {
    let step = |loader, text: &str| Step {
        loader,
        text: text.to_owned(),
    };
    match rules {
        Rules::Nft(text) => vec![step(Loader::Nft, text)],
        Rules::Iptables(parts) => {
            let parts = parts.iter();
            parts
                .map(|part| step(Loader::Restore(part.family), &part.text))
                .collect()
        }
        Rules::Script(_) => Vec::new(),
    }
}

/// What a script has made is put into force by the way from the present rules to it.
#[must_use]
pub fn of_plan(plan: &Plan) -> Vec<Step> {
    let (v4, v6) = (Family::Ipv4, Family::Ipv6);
    let steps = [
        (
            Loader::Nft,
            plan.delete.concat() + &Piece::joined(&plan.create),
        ),
        (Loader::Refill(v4), Piece::joined(&plan.ipv4)),
        (Loader::Refill(v6), Piece::joined(&plan.ipv6)),
        (Loader::Legacy(v4), Piece::joined(&plan.legacy_ipv4)),
        (Loader::Legacy(v6), Piece::joined(&plan.legacy_ipv6)),
    ];
    let steps = steps.into_iter().filter(|(_, text)| !text.is_empty());
    steps.map(|(loader, text)| Step { loader, text }).collect()
}
