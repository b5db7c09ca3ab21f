//! Markdown, rendered: what others wrote is text in the place that it belongs to, and nothing else.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{
    Content, Format, Style, Verbosity, compare, differences, hostile, reports, samples, written,
};
use crate::model::Report;
use crate::report::escape::{self, escape};
use crate::report::table::destinations;

fn markdown<'a>(content: impl Into<Content<'a>>, verbosity: Verbosity) -> String {
    written(content, Format::Markdown, verbosity)
}

/// With everything that sites add to Markdown, and more; quotes are left as they are.
fn events(text: &str) -> Vec<Event<'_>> {
    let options = Options::all() - Options::ENABLE_SMART_PUNCTUATION;
    Parser::new_ext(text, options).collect()
}

/// What stands in a document, without markup.
#[derive(Debug, Default, PartialEq)]
struct Outline {
    headings: Vec<(HeadingLevel, String)>,
    paragraphs: Vec<String>,
    items: Vec<String>,
    /// Each row's cells.
    rows: Vec<Vec<String>>,
    code: Vec<String>,
    html: Vec<String>,
}

impl Outline {
    /// Panics at whatever the form itself never writes: links, images, emphasis, quotes, …
    fn of(document: &str) -> Self {
        let mut outline = Self::default();
        let mut text = String::new();
        let mut in_item = false;
        for event in events(document) {
            match event {
                Event::Text(more) | Event::Code(more) => text += &more,
                Event::Html(html) => outline.html.push(html.trim_end().to_owned()),
                Event::Start(Tag::TableHead | Tag::TableRow) => outline.rows.push(Vec::new()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) => {
                    assert_eq!(&*kind, "text");
                }
                Event::Start(Tag::Item) => in_item = true,
                Event::End(TagEnd::Paragraph) if !in_item => {
                    outline.paragraphs.push(std::mem::take(&mut text));
                }
                Event::Start(
                    Tag::Paragraph
                    | Tag::Heading { id: None, .. }
                    | Tag::List(None)
                    | Tag::Table(_)
                    | Tag::TableCell
                    | Tag::HtmlBlock,
                )
                | Event::End(
                    TagEnd::Table
                    | TagEnd::TableHead
                    | TagEnd::TableRow
                    | TagEnd::HtmlBlock
                    | TagEnd::List(_)
                    | TagEnd::Paragraph,
                ) => {}
                Event::End(TagEnd::Heading(level)) => {
                    outline.headings.push((level, std::mem::take(&mut text)));
                }
                Event::End(TagEnd::TableCell) => {
                    let cell = std::mem::take(&mut text);
                    outline.rows.last_mut().unwrap().push(cell);
                }
                Event::End(TagEnd::CodeBlock) => outline.code.push(std::mem::take(&mut text)),
                Event::End(TagEnd::Item) => {
                    in_item = false;
                    outline.items.push(std::mem::take(&mut text));
                }
                other => panic!("{other:?} in\n{document}"),
            }
        }
        outline
    }
}

#[test]
fn documents_look_as_they_should() {
    for (name, report) in samples::all() {
        let text = markdown(&report, Verbosity::Normal);
        insta::assert_snapshot!(format!("markdown-{name}"), text);
    }
    let degraded = samples::degraded();
    let text = markdown(&degraded, Verbosity::Verbose);
    insta::assert_snapshot!("markdown-verbose", text);
    let difference = compare(&samples::ready(), &degraded);
    let text = markdown(Content::Compared(&degraded, &difference), Verbosity::Normal);
    insta::assert_snapshot!("markdown-compared", text);
    let text = markdown(&degraded, Verbosity::Quiet);
    insta::assert_snapshot!("markdown-quiet", text);
}

/// A text as it is told: visible, and without spaces around it.
fn told(text: &str) -> String {
    escape(text).trim().to_owned()
}

/// The cells of the report's tables. A `|` in code is told as `\u{7c}`.
fn cells(report: &Report) -> Vec<Vec<String>> {
    let report = escape::escaped(report).unwrap();
    let sections = destinations::sections(&report, Style::default());
    let rows = sections.into_iter().flat_map(|section| {
        let header = std::iter::once(section.grid.header);
        header.chain(section.grid.rows)
    });
    rows.map(|row| row.iter().map(|cell| collapsed(cell)).collect())
        .collect()
}

fn collapsed(cell: &str) -> String {
    let cell = cell.replace(r"\u{7c}", "|");
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn whatever_a_report_holds_is_text_where_it_belongs() {
    for (name, report) in reports() {
        let document = markdown(&report, Verbosity::Verbose);
        let outline = Outline::of(&document);
        let levels: Vec<_> = outline.headings.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels[0], HeadingLevel::H2, "{name}");
        assert!(levels[1..].iter().all(|level| *level == HeadingLevel::H3));
        let tables = destinations::sections(&report, Style::default()).len();
        assert_eq!(levels.len(), tables + 2 + report.findings.len(), "{name}");
        let rows = outline.rows.iter();
        let rows: Vec<Vec<_>> = rows
            .map(|row| row.iter().map(|c| collapsed(c)).collect())
            .collect();
        assert_eq!(rows, cells(&report), "{name}\n{document}");
        for finding in &report.findings {
            let wanted = format!(
                "{}: {} ({})",
                finding.severity,
                told(&finding.title),
                finding.code
            );
            let is_heading = |(_, text): &(_, String)| text.ends_with(&wanted);
            assert!(
                outline.headings.iter().any(is_heading),
                "{name}: {wanted}\n{document}"
            );
            for seen in &finding.evidence {
                let seen = format!("Seen: {}", told(&seen.0));
                let is_item = |text: &String| *text == seen;
                assert!(
                    outline.items.iter().any(is_item),
                    "{name}: {seen}\n{document}"
                );
            }
            let (commands, flows) = finding.remedy.parts();
            for lines in [commands, flows] {
                let lines: Vec<_> = lines.into_iter().map(escape).collect();
                let lines = lines.join("\n") + "\n";
                let known = lines == "\n" || outline.code.contains(&lines);
                assert!(known, "{name}: {lines}\n{document}");
            }
        }
        let summary = told(&report.summary);
        assert_eq!(outline.paragraphs[0], summary, "{name}");
        let details = [
            "<details>",
            "<summary>Every lookup and every attempt</summary>",
            "</details>",
        ];
        assert_eq!(outline.html, details, "{name}");
    }
}

#[test]
fn whatever_a_difference_holds_is_text_where_it_belongs() {
    for (name, _, difference) in differences() {
        let document = markdown(Content::Difference(&difference), Verbosity::Normal);
        let outline = Outline::of(&document);
        let summary = told(&difference.summary);
        assert_eq!(outline.paragraphs[0], summary, "{name}");
        let lines = crate::diff::lines(difference.changes());
        for line in crate::diff::lines(&difference.worse) {
            let is_item = |text: &String| *text == told(&line);
            assert!(
                outline.items.iter().any(is_item),
                "{name}: {line}\n{document}"
            );
        }
        let about = 2 + difference.caveats.len() + difference.moved.len();
        assert!(outline.items.len() >= lines.len() + about - 1, "{name}");
        assert!(outline.html.is_empty(), "{name}");
    }
}

/// Mentions, links and references are made by sites of plain words, and not in code.
#[test]
fn no_word_is_left_that_a_site_makes_something_of() {
    for (name, report) in hostile() {
        let document = markdown(&report, Verbosity::Normal);
        let mut in_block = false;
        for event in events(&document) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(text) if !in_block => {
                    for sign in ["@", "://", "www.", "$", "#1", "!2", "#3"] {
                        assert!(!text.contains(sign), "{name}: {text}");
                    }
                }
                _ => {}
            }
        }
    }
}

/// Even a site that renders nothing but HTML finds none outside of code: what would be text to other
/// sites is escaped in the source.
#[test]
fn no_angle_bracket_is_left_outside_of_code() {
    for (name, report) in hostile() {
        let document = markdown(&report, Verbosity::Normal);
        let mut in_block = false;
        for (event, range) in Parser::new_ext(&document, Options::empty()).into_offset_iter() {
            match event {
                Event::Html(_) | Event::InlineHtml(_) => panic!("{name}: {event:?}"),
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(_) if !in_block => {
                    let source = &document[range];
                    assert!(!source.contains(['<', '>']), "{name}: {source}");
                }
                _ => {}
            }
        }
    }
}
