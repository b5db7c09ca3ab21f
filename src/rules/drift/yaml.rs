//! The part of YAML that Kubernetes tools write, as JSON values: block mappings and sequences,
//! empty flow collections, plain and quoted scalars of one line. The rest is refused, not guessed.

use serde_json::{Map, Value};

/// The documents of a text. None when it uses more of YAML than this reads.
pub(crate) fn documents(text: &str) -> Option<Vec<Value>> {
    let mut documents = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("---") || line.starts_with("...") {
            documents.push(std::mem::take(&mut lines));
            continue;
        }
        let bare = without_comment(line);
        let content = bare.trim();
        if !content.is_empty() {
            let indent = bare.len() - bare.trim_start_matches(' ').len();
            lines.push((indent, content));
        }
    }
    documents.push(lines);
    let documents = documents.into_iter().filter(|lines| !lines.is_empty());
    documents.map(|lines| document(&lines)).collect()
}

type Line<'a> = (usize, &'a str);

fn document(lines: &[Line<'_>]) -> Option<Value> {
    let (value, rest) = node(lines, lines.first()?.0)?;
    rest.is_empty().then_some(value)
}

/// What stands at an indent, and the lines after it.
fn node<'a, 'b>(lines: &'a [Line<'b>], indent: usize) -> Option<(Value, &'a [Line<'b>])> {
    match lines.first() {
        Some((at, text)) if *at == indent && is_item(text) => sequence(lines, indent),
        Some((at, text)) if *at == indent && key(text).is_some() => mapping(lines, indent),
        Some((at, text)) if *at == indent => Some((scalar(text)?, &lines[1..])),
        _ => None,
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

fn sequence<'a, 'b>(mut lines: &'a [Line<'b>], indent: usize) -> Option<(Value, &'a [Line<'b>])> {
    let mut items = Vec::new();
    while let Some((at, text)) = lines.first().filter(|(at, t)| *at == indent && is_item(t)) {
        let own = text[1..].trim_start();
        // What follows the dash is at the indent that it has been moved to.
        let inner = at + text.len() - own.len();
        let length = 1 + lines[1..].iter().take_while(|(at, _)| *at > indent).count();
        let mut item = lines[..length].to_vec();
        item[0] = (inner, own);
        let item = if own.is_empty() {
            &item[1..]
        } else {
            &item[..]
        };
        items.push(match item.first() {
            Some((at, _)) => whole(node(item, *at)?)?,
            None => Value::Null,
        });
        lines = &lines[length..];
    }
    Some((Value::Array(items), lines))
}

fn whole((value, rest): (Value, &[Line<'_>])) -> Option<Value> {
    rest.is_empty().then_some(value)
}

fn mapping<'a, 'b>(mut lines: &'a [Line<'b>], indent: usize) -> Option<(Value, &'a [Line<'b>])> {
    let mut map = Map::new();
    while let Some((_, text)) = lines.first().filter(|(at, t)| *at == indent && !is_item(t)) {
        let (name, own) = key(text)?;
        lines = &lines[1..];
        let value = match (own, lines.first()) {
            ("", Some((at, next))) if *at > indent || (*at == indent && is_item(next)) => {
                let (value, rest) = node(lines, *at)?;
                lines = rest;
                value
            }
            ("", _) => Value::Null,
            (own, _) => scalar(own)?,
        };
        if map.insert(name, value).is_some() {
            return None;
        }
    }
    Some((Value::Object(map), lines))
}

/// `NAME: REST`, where the name may be quoted.
fn key(text: &str) -> Option<(String, &str)> {
    if text.starts_with(['"', '\'']) {
        let quote = text.chars().next()?;
        let (name, rest) = text[1..].split_once(quote)?;
        let rest = rest.strip_prefix(':')?;
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (name.to_owned(), rest.trim()));
    }
    let (name, rest) = match text.strip_suffix(':') {
        Some(name) if !name.contains(": ") => (name, ""),
        _ => text.split_once(": ")?,
    };
    let plain = !name.is_empty() && !name.starts_with(['[', '{', '&', '*', '!', '?', '|', '>']);
    plain.then(|| (name.trim_end().to_owned(), rest.trim()))
}

fn scalar(text: &str) -> Option<Value> {
    match text {
        "{}" => return Some(Value::Object(Map::new())),
        "[]" => return Some(Value::Array(Vec::new())),
        "null" | "~" => return Some(Value::Null),
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?.replace("''", "\u{0}");
        return (!inner.contains('\'')).then(|| Value::String(inner.replace('\u{0}', "'")));
    }
    if text.starts_with(['[', '{', '&', '*', '!', '|', '>', '%', '@', '`']) {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    Some(Value::String(text.to_owned()))
}

/// A `#` begins a comment at the start of a line or after a space, outside quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' => return &line[..at],
            (None, '"' | '\'') if " [{,:".contains(before) => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubectl_writes_is_read() {
        let text = "\
# a comment
apiVersion: v1
metadata:
  name: \"x\"   # another
  labels: {}
spec:
  to:
  - ipBlock:
      cidr: 2606:4700:a0::1/128
    port: 7844
  -
    a: 'it''s'
  - plain
---
kind: B
";
        assert_eq!(
            documents(text),
            Some(vec![
                json!({
                    "apiVersion": "v1",
                    "metadata": {"name": "x", "labels": {}},
                    "spec": {"to": [
                        {"ipBlock": {"cidr": "2606:4700:a0::1/128"}, "port": 7844},
                        {"a": "it's"},
                        "plain",
                    ]},
                }),
                json!({"kind": "B"}),
            ])
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "a: [1, 2]",
            "a: {b: c}",
            "a: |\n  text",
            "a: &x 1",
            "a: 1\n  b: 2",
            "a: 1\na: 2",
            "- a\nb: c",
            "a: 'open",
        ] {
            assert_eq!(documents(text), None, "{text}");
        }
    }
}
