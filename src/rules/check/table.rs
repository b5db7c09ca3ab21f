//! Tables of `--format csv`, and others with the same names of columns (RFC 4180).

use std::collections::HashMap;

use super::list::{List, Rule, To, ports, transport};
use crate::rules::Cidr;

/// Whether the first row names the columns that are needed.
pub(super) fn is_one(text: &str) -> bool {
    let header = text.lines().next().unwrap_or_default();
    let has = |name: &str| header.split(',').any(|cell| cell.trim_matches('"') == name);
    has("protocol") && has("destination") && has("destination_port")
}

/// Reads the table. What it does not permit is missing.
///
/// # Errors
/// What is wrong with it, with the line.
pub(super) fn read(text: &str) -> Result<List, String> {
    let mut rules = Vec::new();
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    for (at, row) in reader.deserialize::<HashMap<String, String>>().enumerate() {
        let row = row.map_err(|why| why.to_string())?;
        let cell = |name: &str| row.get(name).map_or("", |cell| cell.trim());
        let lower = |name: &str| cell(name).to_ascii_lowercase();
        let goes_out = matches!(
            lower("direction").as_str(),
            "out" | "outbound" | "egress" | ""
        );
        let (Some(transport), true) = (transport(cell("protocol")), goes_out) else {
            continue;
        };
        if cell("destination").is_empty() {
            continue;
        }
        let allows = match lower("action").as_str() {
            "permit" | "allow" | "accept" | "" => true,
            "deny" | "drop" | "reject" | "block" => false,
            other => return Err(format!("the action `{other}` is neither permit nor deny")),
        };
        let open = ["any", "*", ""];
        let mut doubt = None;
        if !open.contains(&cell("source")) || !open.contains(&cell("source_port")) {
            doubt = Some(format!(
                "it is for the source {} {}",
                cell("source"),
                cell("source_port")
            ));
        }
        // The table lists an address a row, or those of a host in one cell.
        for word in cell("destination").split([' ', ';']) {
            let to = match (Cidr::covering(word), open.contains(&word)) {
                (Some(network), _) => To::Network(network, Vec::new()),
                (None, known) => {
                    let unknown = || format!("what `{word}` is, is not in the table");
                    doubt = doubt.or_else(|| (!known).then(unknown));
                    To::Anywhere
                }
            };
            let range = ports(cell("destination_port")).ok_or_else(|| {
                format!(
                    "`{}` is not a port, a range or `any`",
                    cell("destination_port")
                )
            })?;
            let mut rule = Rule {
                order: 1,
                allows,
                transport,
                ports: range,
                to,
                doubt: doubt.clone(),
                label: format!("row {} of the table", at + 1),
            };
            // A denial outweighs all others, but the one for everything comes last.
            rule.order = match (allows, rule.is_for_everything()) {
                (false, false) => 0,
                (true, _) => 1,
                (false, true) => 2,
            };
            rules.push(rule);
        }
    }
    Ok(List::stateful("the table".to_owned(), rules))
}
