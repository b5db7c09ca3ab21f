//! What was reached: the edge by region, transport and family, and the optional hosts.

use std::collections::BTreeSet;

use super::super::style::{Paint, Style};
use super::grid::Grid;
use super::page::Page;
use crate::model::{Destination, Family, Report, Service, Source, Status};

/// One table, with what stands above and below it.
pub(in crate::report) struct Section {
    pub(in crate::report) heading: String,
    pub(in crate::report) grid: Grid,
    pub(in crate::report) note: Option<String>,
}

/// Writes both tables; a run without optional hosts has only one.
pub(super) fn write(page: &mut Page, report: &Report) {
    for section in sections(report, page.style) {
        page.heading(&section.heading);
        section.grid.write(page, 4);
        if let Some(note) = section.note {
            page.paragraph(4, "", &note);
        }
    }
}

/// The tables of the rows, each where it has any.
pub(in crate::report) fn sections(report: &Report, style: Style) -> Vec<Section> {
    let (optional, tunnel): (Vec<_>, Vec<_>) = report
        .destinations
        .iter()
        .partition(|row| row.service == Service::Https);
    let tunnel = (!tunnel.is_empty()).then(|| of_tunnel(&tunnel, style));
    let optional = (!optional.is_empty()).then(|| of_optional(&optional, style));
    tunnel.into_iter().chain(optional).collect()
}

fn of_tunnel(rows: &[&Destination], style: Style) -> Section {
    let regions = distinct(rows.iter().map(|row| column(row)));
    let mut grid = Grid {
        header: vec![String::new()],
        rows: Vec::new(),
    };
    grid.header
        .extend(regions.iter().map(|region| heading(rows, region)));
    for service in [Service::Quic, Service::Http2] {
        for family in Family::BOTH {
            let of_line = |row: &&&Destination| row.service == service && row.family == family;
            let line: Vec<_> = rows.iter().filter(of_line).collect();
            if line.is_empty() {
                continue;
            }
            let mut cells = vec![format!("{service:<5} {} {family}", service.transport())];
            cells.extend(regions.iter().map(|region| {
                let here = line.iter().filter(|row| column(row) == *region);
                join(here.map(|row| cell(style, row, true)))
            }));
            grid.rows.push(cells);
        }
    }
    Section {
        heading: format!("Required, {}", ports(rows)),
        grid,
        note: documented(rows),
    }
}

/// The column that a row of the edge stands in.
fn column(row: &Destination) -> &str {
    row.region.as_deref().unwrap_or(&row.host)
}

/// A region's heading; where the edge was given by hand, the address tells more than the number.
fn heading(rows: &[&Destination], region: &str) -> String {
    let given = |row: &&&Destination| column(row) == region && row.source == Source::Given;
    match rows.iter().find(given) {
        Some(row) if row.host != region => format!("{region} {}", row.host),
        _ => region.to_owned(),
    }
}

/// Says which rows were probed at addresses that cloudflared would not have.
fn documented(rows: &[&Destination]) -> Option<String> {
    let documented = rows
        .iter()
        .filter(|row| row.source == Source::Documented && row.addresses.probed > 0);
    let names = distinct(documented.map(|row| format!("{} {}", column(row), row.family)));
    (!names.is_empty()).then(|| {
        format!(
            "Probed at the documented addresses, because DNS gives none that can be right: {}.",
            names.join(", ")
        )
    })
}

fn of_optional(rows: &[&Destination], style: Style) -> Section {
    let mut grid = Grid {
        header: vec![String::new()],
        rows: Vec::new(),
    };
    grid.header
        .extend(Family::BOTH.map(|family| family.to_string()));
    for host in distinct(rows.iter().map(|row| row.host.as_str())) {
        let mut cells = vec![host.to_owned()];
        cells.extend(Family::BOTH.map(|family| {
            let here = rows
                .iter()
                .filter(|row| row.host == host && row.family == family);
            join(here.map(|row| cell(style, row, false)))
        }));
        grid.rows.push(cells);
    }
    Section {
        heading: format!("Optional, {}", ports(rows)),
        grid,
        note: None,
    }
}

/// A mark, and the words that say the same and more.
fn cell(style: Style, row: &Destination, with_count: bool) -> String {
    let (paint, mark, words) = match row.status {
        Status::Reachable => (Paint::Good, "ok", [count(row, with_count), rtt(row), None]),
        Status::Partial => (Paint::Fair, "~", [count(row, true), rtt(row), cause(row)]),
        Status::Blocked => (Paint::Bad, "x", [count(row, with_count), cause(row), None]),
        Status::Unavailable => (
            Paint::Faint,
            "-",
            [Some(format!("no {} here", row.family)), None, None],
        ),
        Status::Unresolved => (Paint::Bad, "x", [Some("unresolved".to_owned()), None, None]),
        Status::Inconclusive => {
            let unclear = Some("inconclusive".to_owned());
            (
                Paint::Fair,
                "?",
                [count(row, with_count), unclear, cause(row)],
            )
        }
        Status::Skipped => (Paint::Faint, "-", [Some("skipped".to_owned()), None, None]),
    };
    let mut cell = style.paint(paint, mark);
    for word in words.into_iter().flatten() {
        cell.push(' ');
        cell.push_str(&word);
    }
    cell
}

fn count(row: &Destination, wanted: bool) -> Option<String> {
    let (reachable, total) = (row.addresses.reachable, row.addresses.total);
    wanted.then(|| format!("{reachable}/{total}"))
}

/// The quickest: the others include what many handshakes at once cost this host's processor.
fn rtt(row: &Destination) -> Option<String> {
    row.rtt_ms.map(|range| range.min.to_string())
}

fn cause(row: &Destination) -> Option<String> {
    row.cause.map(|cause| cause.to_string())
}

fn ports(rows: &[&Destination]) -> String {
    let ports: BTreeSet<_> = rows.iter().map(|row| row.port).collect();
    let word = if ports.len() == 1 { "port" } else { "ports" };
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    format!("{word} {}", ports.join(", "))
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join("; ")
}

/// The different ones, in the order in which they first come.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}
