//! `tunnelcheck explain`: the sections of docs/findings.md on a terminal. Pure.

use super::Style;
use super::style::Paint;
use super::table::page::Page;
use crate::model::{Cause, FindingCode};

/// The page that has a section for each finding; `tests/it/docs` holds it and the codes together.
const PAGE: &str = include_str!("../../docs/findings.md");

/// What is to be explained: the findings that one word stands for, never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic(Vec<FindingCode>);

impl Topic {
    /// Reads the code of a finding, or the cause of a row, which leads to its findings. Case does not
    /// matter, nor whether words are joined by a hyphen or by an underscore.
    ///
    /// # Errors
    /// For another word: what it may have meant, and how to see all codes.
    pub fn parse(word: &str) -> Result<Self, String> {
        let word = word.trim().to_ascii_lowercase();
        // Causes are written with underscores, and may lead to more than the finding of that name.
        if let Some(cause) = Cause::ALL.iter().find(|cause| cause.as_str() == word)
            && word.contains('_')
        {
            return Ok(Self(of_cause(*cause).to_vec()));
        }
        let plain = word.replace('_', "-");
        if let Some(code) = FindingCode::ALL.iter().find(|code| code.as_str() == plain) {
            return Ok(Self(vec![*code]));
        }
        let spelled = |cause: &&Cause| cause.as_str().replace('_', "-") == plain;
        match Cause::ALL.iter().find(spelled) {
            Some(cause) => Ok(Self(of_cause(*cause).to_vec())),
            None => Err(format!(
                "no finding has this code{}; `tunnelcheck explain` lists all",
                nearest(&plain)
                    .map_or_else(String::new, |code| format!(", did you mean `{code}`?"))
            )),
        }
    }
}

/// The findings that a row's cause leads to.
const fn of_cause(cause: Cause) -> &'static [FindingCode] {
    match cause {
        Cause::Dropped => &[FindingCode::UdpDropped, FindingCode::TcpDropped],
        Cause::Rejected => &[FindingCode::UdpRejected, FindingCode::TcpRejected],
        Cause::Reset => &[FindingCode::TcpReset],
        Cause::LocalFirewall => &[FindingCode::LocalFirewall],
        Cause::NoRoute => &[FindingCode::NoRoute],
        Cause::Interrupted => &[FindingCode::Interrupted],
        Cause::SniFiltered => &[FindingCode::SniFiltered],
        Cause::LargeHelloDropped => &[FindingCode::LargeHelloDropped],
        Cause::TlsIntercepted => &[FindingCode::TlsIntercepted, FindingCode::CertificateTime],
        Cause::NotTheEdge => &[FindingCode::NotTheEdge],
        Cause::QuicFiltered => &[FindingCode::QuicFiltered],
        Cause::Mtu => &[FindingCode::Mtu],
        Cause::Dns => &[FindingCode::DnsAddressesFailed, FindingCode::DnsSuspicious],
        Cause::Unknown => &[
            FindingCode::PostQuantumRefused,
            FindingCode::Unexplained,
            FindingCode::Undecided,
        ],
    }
}

/// The sections of the topics, each once; without topics the list of all codes.
#[must_use]
pub fn explain(topics: &[Topic], style: Style) -> String {
    let mut page = Page::new(style);
    if topics.is_empty() {
        list(&mut page);
    }
    let mut told = Vec::new();
    for code in topics.iter().flat_map(|topic| &topic.0) {
        if !told.contains(code) {
            told.push(*code);
            section(&mut page, *code);
        }
    }
    page.blank();
    style.finish(&page.into_text())
}

fn list(page: &mut Page) {
    page.heading("Findings, the most fundamental first");
    for code in FindingCode::ALL {
        let code_column = format!("{:<20}", code.as_str());
        page.paragraph(4, &code_column, title(*code).unwrap_or_default());
    }
    page.blank();
    page.paragraph(
        2,
        "",
        "For details about one of them: `tunnelcheck explain CODE`.",
    );
}

/// The line about a code in the contents of the page.
fn title(code: FindingCode) -> Option<&'static str> {
    let line = format!("- [`{code}`](#{code}): ");
    PAGE.lines().find_map(|found| found.strip_prefix(&line))
}

fn section(page: &mut Page, code: FindingCode) {
    let style = page.style;
    page.blank();
    let name = style.paint(Paint::Strong, code.as_str());
    page.paragraph(2, &name, title(code).unwrap_or_default());
    for paragraph in body(code)
        .split("\n\n")
        .filter(|text| !text.trim().is_empty())
    {
        page.blank();
        match paragraph
            .trim()
            .strip_prefix("**")
            .and_then(|rest| rest.split_once("**"))
        {
            Some((label, text)) => {
                let label = style.paint(Paint::Strong, &format!("{label:<6}"));
                page.paragraph(2, &label, &without_links(text));
            }
            None => page.paragraph(2, "", &without_links(paragraph)),
        }
    }
}

/// What stands under the heading of a code.
fn body(code: FindingCode) -> &'static str {
    let of_code = |section: &&str| section.lines().next() == Some(code.as_str());
    let found = PAGE.split("\n## ").skip(1).find(of_code);
    found
        .and_then(|section| section.split_once('\n'))
        .map_or("", |(_, body)| body)
}

/// Links lead nowhere on a terminal: their text stays.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((name, (_, tail))) = before.rsplit_once('[').zip(after.split_once(')')) else {
            break;
        };
        plain.push_str(name.0);
        plain.push_str(name.1);
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

/// The code that a mistyped word is closest to, if it is close at all.
fn nearest(word: &str) -> Option<FindingCode> {
    let distances = FindingCode::ALL
        .iter()
        .map(|code| (distance(word, code.as_str()), *code));
    let (distance, code) = distances.min()?;
    let close = distance <= code.as_str().len() / 3;
    let part = || {
        FindingCode::ALL
            .iter()
            .find(|code| code.as_str().contains(word))
    };
    if close {
        Some(code)
    } else if word.len() >= 3 {
        part().copied()
    } else {
        None
    }
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (pair, other) in row.windows(2).zip(&b) {
            let &[diagonal, above] = pair else { break };
            let left = next.last().copied().unwrap_or_default();
            let changed = diagonal + usize::from(letter != *other);
            next.push(changed.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_cause_is_explained() {
        for word in FindingCode::ALL
            .iter()
            .map(|code| code.as_str())
            .chain(Cause::ALL.iter().map(|cause| cause.as_str()))
        {
            let topic = Topic::parse(word).unwrap();
            let text = explain(&[topic], Style::default());
            for label in ["Seen:", "Means:", "Ask:", "Do:", "Apart:"] {
                assert!(text.contains(label), "{word}: {label}\n{text}");
            }
            assert!(!text.contains("](") && !text.contains("**"), "{text}");
        }
    }

    #[test]
    fn the_list_has_every_code_with_its_title() {
        let text = explain(&[], Style::default());
        for code in FindingCode::ALL {
            assert!(text.contains(code.as_str()), "{code}");
            assert!(title(*code).is_some_and(|title| title.len() > 10), "{code}");
        }
    }

    #[test]
    fn causes_lead_to_their_findings_and_each_is_told_once() {
        let both = Topic::parse("dropped").unwrap();
        assert_eq!(both.0, [FindingCode::UdpDropped, FindingCode::TcpDropped]);
        assert_eq!(
            Topic::parse("SNI_Filtered").unwrap().0,
            [FindingCode::SniFiltered]
        );
        let both_clocks = [FindingCode::TlsIntercepted, FindingCode::CertificateTime];
        assert_eq!(Topic::parse("tls_intercepted").unwrap().0, both_clocks);
        assert_eq!(Topic::parse("tls-intercepted").unwrap().0, both_clocks[..1]);
        let twice = [both, Topic::parse("udp-dropped").unwrap()];
        let text = explain(&twice, Style::default());
        assert_eq!(text.matches("Seen:").count(), 2, "{text}");
    }

    #[test]
    fn what_is_mistyped_is_guessed() {
        for (typed, meant) in [
            ("udp-droped", "udp-dropped"),
            ("no-rout", "no-route"),
            ("certificate", "certificate-time"),
            ("hello", "large-hello-dropped"),
        ] {
            let message = Topic::parse(typed).unwrap_err();
            assert!(message.contains(&format!("`{meant}`")), "{message}");
        }
        let message = Topic::parse("the weather").unwrap_err();
        assert!(!message.contains("mean"), "{message}");
        assert!(message.contains("lists all"), "{message}");
    }

    #[test]
    fn links_become_their_text() {
        assert_eq!(without_links("see [`a`](#a), [b](c.md#d)."), "see `a`, b.");
        assert_eq!(without_links("a [0] (b) ](c"), "a [0] (b) ](c");
    }

    #[test]
    fn lines_keep_to_the_width() {
        use unicode_width::UnicodeWidthStr;
        for width in [40, 80, 100] {
            let all: Vec<_> = FindingCode::ALL
                .iter()
                .map(|code| Topic(vec![*code]))
                .collect();
            for topics in [&all[..], &[]] {
                let text = explain(topics, Style::new(false, Some(width)));
                let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
                assert!(widest <= usize::from(width), "{widest} at {width}");
            }
        }
    }
}
