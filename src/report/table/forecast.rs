//! What cloudflared will do from its start, as a time line.

use unicode_width::UnicodeWidthStr;

use super::page::Page;
use crate::model::{Forecast, Killed, Prospect, Span};

/// A first connection that is later than this is worth a time line, in seconds.
const LATE_S: f64 = 3.0;

/// Writes the time line, if there is more to say than that cloudflared connects at once.
pub(super) fn write(page: &mut Page, forecast: &Forecast, always: bool) {
    if !always && !is_remarkable(forecast) {
        return;
    }
    page.heading(&format!(
        "What cloudflared will do (a forecast for {})",
        forecast.based_on
    ));
    let times: Vec<_> = forecast.steps.iter().map(|step| time(step.at_s)).collect();
    let width = times.iter().map(|time| time.width()).max().unwrap_or(0);
    for (step, time) in forecast.steps.iter().zip(&times) {
        page.paragraph(4, &format!("{time:<width$}"), &step.text);
    }
    if forecast.outcome == Prospect::Never {
        page.paragraph(4, "", "It runs on and never gets a connection.");
    }
}

fn is_remarkable(forecast: &Forecast) -> bool {
    let late = forecast
        .first_connection_s
        .is_some_and(|first| first.median > LATE_S);
    let killed = forecast
        .service_start
        .as_ref()
        .is_some_and(|start| start.killed != Killed::Never);
    late || killed || forecast.outcome != Prospect::Connects
}

/// `15 s`, or `91 to 188 s` if chance decides.
fn time(at: Span) -> String {
    let exact = |seconds: f64| {
        if seconds < 10.0 {
            format!("{seconds:.1}")
        } else {
            format!("{seconds:.0}")
        }
    };
    if at.max - at.min < 1.0 {
        format!("{} s", exact(at.median))
    } else {
        format!("{} to {} s", exact(at.min), exact(at.max))
    }
}
