use super::*;
use crate::model::{Role, Status, Verdict};
use crate::report::samples;

fn checked() -> Report {
    Report {
        started_at: "2026-11-21T16:31:26.5Z".to_owned(),
        duration_ms: 1600.0.into(),
        ..samples::ready()
    }
}

fn with(status: Status, verdict: Verdict) -> Report {
    let mut report = checked();
    report.destinations[0].status = status;
    report.verdict = verdict;
    report.summary = "A sentence.".to_owned();
    report
}

fn tell(news: &mut News, report: &Report) -> Vec<String> {
    news.of(report, Vec::new(), false)
}

const AT: &str = "2026-11-21T16:31:28Z";

#[test]
fn the_first_line_is_the_verdict_and_what_differs_from_the_baseline_follows() {
    let mut news = News::default();
    let told = news.of(&checked(), vec!["worse: this".to_owned()], false);
    let summary = checked().summary;
    assert_eq!(
        told,
        [
            format!("{AT} ready: {summary}"),
            format!("{AT} worse: this")
        ]
    );
    assert!(tell(&mut news, &checked()).is_empty());
}

#[test]
fn changes_are_told_once_each_way() {
    let mut news = News::default();
    tell(&mut news, &checked());
    let blocked = with(Status::Blocked, Verdict::Degraded);
    let told = tell(&mut news, &blocked);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        format!("{AT} verdict: ready -> degraded: A sentence.")
    );
    assert!(
        told[1].starts_with(&format!("{AT} region1 quic IPv4: reachable")),
        "{told:?}"
    );
    assert!(tell(&mut news, &blocked).is_empty());
    assert_eq!(tell(&mut news, &checked()).len(), 2);
}

#[test]
fn one_uncertain_check_is_not_told_and_two_are_told_once() {
    let mut news = News::default();
    tell(&mut news, &checked());
    let unsure = with(Status::Inconclusive, Verdict::Inconclusive);
    for _ in 0..5 {
        assert!(tell(&mut news, &unsure).is_empty());
        assert!(tell(&mut news, &checked()).is_empty());
    }
    assert!(tell(&mut news, &unsure).is_empty());
    let told = tell(&mut news, &unsure);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[1].contains("region1 quic IPv4: no longer certain, was reachable"),
        "{told:?}"
    );
    assert!(tell(&mut news, &unsure).is_empty());
    let back = tell(&mut news, &checked());
    assert!(back[1].contains("inconclusive"), "{back:?}");
}

/// A doubt in between does not hide that something got worse.
#[test]
fn a_block_behind_a_doubt_is_told_from_what_was_certain() {
    let mut news = News::default();
    tell(&mut news, &checked());
    tell(
        &mut news,
        &with(Status::Inconclusive, Verdict::Inconclusive),
    );
    let told = tell(&mut news, &with(Status::Blocked, Verdict::Degraded));
    assert!(told[0].contains("verdict: ready -> degraded"), "{told:?}");
}

#[test]
fn the_last_verdict_is_told_at_the_end_where_it_was_held_back() {
    let mut news = News::default();
    tell(&mut news, &checked());
    assert_eq!(news.untold(), None);
    tell(
        &mut news,
        &with(Status::Inconclusive, Verdict::Inconclusive),
    );
    let line = news.untold();
    assert_eq!(line, Some(format!("{AT} inconclusive: A sentence.")));
    tell(&mut news, &checked());
    assert_eq!(news.untold(), None);
}

#[test]
fn quiet_is_the_verdict_alone() {
    let mut news = News::default();
    news.of(&checked(), Vec::new(), true);
    let told = news.of(&with(Status::Blocked, Verdict::Degraded), Vec::new(), true);
    assert_eq!(told.len(), 1);
    let same_verdict = with(Status::Reachable, Verdict::Degraded);
    assert!(news.of(&same_verdict, Vec::new(), true).is_empty());
}

#[test]
fn a_report_without_a_time_is_told_too() {
    let mut report = checked();
    report.started_at = "yesterday".to_owned();
    let told = tell(&mut News::default(), &report);
    assert!(told[0].starts_with("yesterday ready: "));
}

#[test]
fn an_address_that_a_check_does_not_get_to_know_is_no_news() {
    let mut full = checked();
    full.destinations[0].probes[0].role = Role::Tunnel;
    let mut short = full.clone();
    short.destinations[0].probes.clear();
    let difference = crate::diff::compare(&full, &short);
    assert_eq!(difference.no_longer_certain.len(), 1, "{difference:?}");
    let mut news = News::default();
    tell(&mut news, &full);
    for report in [&short, &short, &full] {
        assert_eq!(tell(&mut news, report), [""; 0]);
    }
}

#[test]
fn a_server_name_is_told_by_its_rows_alone() {
    let mut news = News::default();
    tell(&mut news, &checked());
    let mut report = checked();
    report.sni[0].status = Status::Blocked;
    assert_eq!(tell(&mut news, &report), [""; 0]);
}
