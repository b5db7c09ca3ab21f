//! The Windows build in the laboratory: which scenarios it goes through, and what is different there.
//!
//! `windows.toml` beside this file says so. The build runs under Wine, by a program that stands before
//! it (`TUNNELCHECK_LAB_RUNNER`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::Outcome;
use crate::expect::Departures;
use crate::runner;
use crate::scenario::{self, Scenario};

/// How much longer a run may take than the scenario says: Wine starts a server, services and a desktop,
/// and imports the authorities, before the product begins.
pub(crate) const START: Duration = Duration::from_secs(25);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Entry>,
}

/// One scenario, and how the truth departs from what it says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    differences: Option<Departures>,
}

/// Whether the product is the Windows build.
pub(crate) fn is_tested() -> bool {
    runner::binary()
        .extension()
        .is_some_and(|ending| ending == "exe")
}

/// All scenarios, or where the Windows build is tested those that are listed, as they are true of it.
pub(crate) fn select(scenarios: Vec<Scenario>) -> Outcome<Vec<Scenario>> {
    if is_tested() {
        listed(scenarios)
    } else {
        Ok(scenarios)
    }
}

/// Every scenario of the list exists, and there are as many as there should be.
pub(crate) fn list_holds() -> Outcome {
    const FEWEST: usize = 15;
    let count = listed(scenario::load()?)?.len();
    if count < FEWEST {
        return Err(format!("{count} scenarios for the Windows build, {FEWEST} at least").into());
    }
    Ok(())
}

fn listed(scenarios: Vec<Scenario>) -> Outcome<Vec<Scenario>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/windows.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: File =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut by_name: BTreeMap<_, _> = scenarios
        .into_iter()
        .map(|scenario| (scenario.name.clone(), scenario))
        .collect();
    file.scenario
        .into_iter()
        .map(|entry| {
            let mut scenario = by_name
                .remove(&entry.name)
                .ok_or_else(|| format!("there is no scenario called {}, or twice", entry.name))?;
            if let Some(differences) = entry.differences {
                scenario.expect.depart(differences);
            }
            Ok(scenario)
        })
        .collect()
}
