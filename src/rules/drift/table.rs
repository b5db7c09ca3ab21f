//! The table of `--format csv`, and others with the same names of columns (RFC 4180).

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::permit::{combinations, from_ports, some_ports, transport};
use super::ways::{Step, Verdict, unordered};
use crate::rules::csv::COLUMNS;

/// Whether the first row names the columns that are needed.
pub(super) fn is_one(text: &str) -> bool {
    let header = rows(text).into_iter().next();
    header.is_some_and(|(_, names)| {
        let has = |name: &str| names.iter().any(|n| n == name);
        has("protocol") && has("destination") && has("destination_port")
    })
}

/// Reads the table.
pub(super) fn read(text: &str, into: &mut Reading) {
    let mut rows = rows(text).into_iter();
    let names = rows.next().map(|(_, names)| names).unwrap_or_default();
    into.ours = names.iter().map(String::as_str).eq(COLUMNS);
    for (line, cells) in rows {
        let row: HashMap<_, _> = names.iter().map(String::as_str).zip(&cells).collect();
        let cell = |name: &str| row.get(name).map_or("", |cell| cell.as_str());
        let lower = |name: &str| cell(name).to_ascii_lowercase();
        let is_off = matches!(lower("enabled").as_str(), "false" | "no" | "0");
        let goes_out = matches!(
            lower("direction").as_str(),
            "out" | "outbound" | "egress" | ""
        );
        if !goes_out || is_off {
            continue;
        }
        let Some(elsewhere) =
            from_ports([cell("source_port")].map(|p| if p.is_empty() { "any" } else { p }))
        else {
            continue;
        };
        let destination = cell("destination");
        let (blocks, understood) = match (destination, Block::parse(destination)) {
            (_, Some(block)) => (vec![block], true),
            ("any" | "*", None) => (Block::everywhere(|_| true), true),
            ("", None) => continue,
            // The name of an object that is not in the table.
            (_, None) => (Block::everywhere(|_| true), false),
        };
        let Some(transport) = transport(cell("protocol")) else {
            continue;
        };
        let ports = some_ports(cell("destination_port"));
        let verdict = match lower("action").as_str() {
            "permit" | "allow" | "accept" | "" => Verdict::Accept,
            "deny" | "drop" | "reject" | "block" => Verdict::Deny,
            _ => Verdict::Unknown,
        };
        let conditional = elsewhere || !understood || !matches!(cell("source"), "any" | "*" | "");
        let permits = combinations(&blocks, &[transport], &[ports], conditional, line);
        into.list("table", unordered(Step::new(verdict, permits)));
    }
}

/// The cells of each row with its first line; lines in quotes belong to their cell.
pub(super) fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    let mut cells = vec![String::new()];
    let (mut line, mut begun, mut quoted) = (1, 1, false);
    let mut rest = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = rest.next() {
        line += usize::from(c == '\n');
        let last = cells.len() - 1;
        match c {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => cells[last].push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                rows.push((begun, std::mem::replace(&mut cells, vec![String::new()])));
                begun = line;
            }
            c => cells[last].push(c),
        }
    }
    rows.push((begun, cells));
    rows.retain(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_line_ends_follow_the_rfc() {
        let text = "a,b\r\n\"x,\"\"y\"\"\n\",2\r\n\r\n3,\r\n";
        let rows: Vec<_> = rows(text).into_iter().collect();
        assert_eq!(rows[0], (1, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(rows[1], (2, vec!["x,\"y\"\n".to_owned(), "2".to_owned()]));
        assert_eq!(rows[2], (5, vec!["3".to_owned(), String::new()]));
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn a_table_of_somebody_else_with_the_same_columns_is_read() {
        let text = "destination_port,protocol,destination\n7844,TCP,198.41.192.0/24\n7844,TCP,\n";
        let mut reading = Reading::default();
        assert!(is_one(text) && !is_one("a,b\n1,2\n"));
        read(text, &mut reading);
        assert_eq!(reading.permits().len(), 1);
    }
}
