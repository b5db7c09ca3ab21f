//! The statements of languages with lists in braces: nftables and pf.

use super::lex::{BLOCKS, Kind, Token, lex};

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A word.
    Word(String),
    /// What stands in braces: the words of each element.
    List(Vec<Vec<String>>),
}

impl Item {
    /// The word; empty for a list.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::List(_) => "",
        }
    }

    /// The first word of every element, or of the word itself.
    pub(super) fn values(&self) -> Vec<&str> {
        match self {
            Self::Word(word) => vec![word],
            Self::List(elements) => {
                let first = elements.iter().filter_map(|words| words.first());
                first.map(String::as_str).collect()
            }
        }
    }
}

/// A statement with the headings of the blocks that it stands in, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) within: Vec<Vec<String>>,
    pub(super) items: Vec<Item>,
}

/// The statements of a text. `opens` tells whether a brace after these words opens a block; else it
/// opens a list.
pub(super) fn statements(text: &str, opens: fn(&[Item]) -> bool) -> Vec<Statement> {
    let tokens = lex(text, BLOCKS);
    let mut parser = Parser::default();
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match &token.kind {
            Kind::Word(word) => parser.item(token.line, Item::Word(word.clone())),
            Kind::Mark('{') if opens(&parser.items) => parser.open(),
            Kind::Mark('{') => {
                let (list, after) = list(rest);
                parser.item(token.line, Item::List(list));
                rest = after;
            }
            Kind::Mark('}') => parser.close(),
            Kind::Mark(';') | Kind::Newline => parser.end(),
            Kind::Mark(_) => {}
        }
    }
    parser.end();
    parser.done
}

#[derive(Default)]
struct Parser {
    done: Vec<Statement>,
    within: Vec<Vec<String>>,
    items: Vec<Item>,
    line: usize,
}

impl Parser {
    fn item(&mut self, line: usize, item: Item) {
        if self.items.is_empty() {
            self.line = line;
        }
        self.items.push(item);
    }

    fn open(&mut self) {
        let heading = std::mem::take(&mut self.items);
        let words = heading.iter().map(|item| item.word().to_owned());
        self.within.push(words.collect());
    }

    fn close(&mut self) {
        self.end();
        self.within.pop();
    }

    fn end(&mut self) {
        if !self.items.is_empty() {
            self.done.push(Statement {
                line: self.line,
                within: self.within.clone(),
                items: std::mem::take(&mut self.items),
            });
        }
    }
}

/// The elements up to the closing brace, which lines do not end.
fn list(tokens: &[Token]) -> (Vec<Vec<String>>, &[Token]) {
    let is_end = |token: &Token| token.kind == Kind::Mark('}');
    let end = tokens.iter().position(is_end).unwrap_or(tokens.len());
    let (inside, rest) = tokens.split_at(end);
    let elements = inside.split(|token| token.kind == Kind::Mark(','));
    let words = elements.map(|element| {
        let words = element.iter().filter_map(|token| match &token.kind {
            Kind::Word(word) => Some(word.clone()),
            Kind::Mark(_) | Kind::Newline => None,
        });
        words.collect::<Vec<_>>()
    });
    let words = words.filter(|words| !words.is_empty()).collect();
    (words, rest.get(1..).unwrap_or_default())
}
