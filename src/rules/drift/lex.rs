//! Cuts the text of a rule file into words, as the shells and rule languages do that it is written in.

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The line that it begins in, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, without its quotes.
    Word(String),
    /// A character that stands for itself.
    Mark(char),
    /// The end of a line that does not continue.
    Newline,
}

/// How a language is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grammar {
    /// Characters that are pieces by themselves outside quotes.
    pub(super) marks: &'static str,
    /// What takes the meaning from the next character, and joins lines.
    pub(super) escape: char,
}

/// The shells of Unix, and files for `iptables-restore`.
pub(super) const SHELL: Grammar = Grammar {
    marks: ";|&",
    escape: '\\',
};

/// `PowerShell`.
pub(super) const POWERSHELL: Grammar = Grammar {
    marks: ";|(){},",
    escape: '`',
};

/// nftables and pf.
pub(super) const BLOCKS: Grammar = Grammar {
    marks: ";{}(),=",
    escape: '\\',
};

/// The pieces of a text. Quotes that are not closed end with the text.
pub(super) fn lex(text: &str, grammar: Grammar) -> Vec<Token> {
    let mut lexer = Lexer {
        tokens: Vec::new(),
        word: None,
        line: 1,
    };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                lexer.push(Kind::Newline);
                lexer.line += 1;
            }
            '#' if lexer.word.is_none() => while rest.next_if(|c| *c != '\n').is_some() {},
            '\'' | '"' => lexer.quoted(c, &mut rest, grammar),
            c if c == grammar.escape => match rest.next() {
                Some('\r') if rest.next_if_eq(&'\n').is_some() => lexer.line += 1,
                Some('\n') => lexer.line += 1,
                Some(escaped) => lexer.add(escaped),
                None => {}
            },
            c if grammar.marks.contains(c) => lexer.push(Kind::Mark(c)),
            c if c.is_whitespace() || c == '\u{feff}' => lexer.end_word(),
            c => lexer.add(c),
        }
    }
    lexer.push(Kind::Newline);
    lexer.tokens
}

struct Lexer {
    tokens: Vec<Token>,
    word: Option<(usize, String)>,
    line: usize,
}

impl Lexer {
    fn add(&mut self, c: char) {
        let line = self.line;
        let (_, word) = self.word.get_or_insert_with(|| (line, String::new()));
        word.push(c);
    }

    fn end_word(&mut self) {
        if let Some((line, word)) = self.word.take() {
            let kind = Kind::Word(word);
            self.tokens.push(Token { line, kind });
        }
    }

    fn push(&mut self, kind: Kind) {
        self.end_word();
        let line = self.line;
        self.tokens.push(Token { line, kind });
    }

    /// Up to the closing quote; a doubled one is itself in `PowerShell`, and joins two pieces elsewhere,
    /// which comes to the same for what is read here.
    fn quoted(
        &mut self,
        quote: char,
        rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
        grammar: Grammar,
    ) {
        let line = self.line;
        self.word.get_or_insert_with(|| (line, String::new()));
        while let Some(c) = rest.next() {
            match c {
                c if c == quote => return,
                c if c == grammar.escape && quote == '"' => {
                    let next = rest.next();
                    self.line += usize::from(next == Some('\n'));
                    next.into_iter()
                        .filter(|c| *c != '\n')
                        .for_each(|c| self.add(c));
                }
                c => {
                    self.line += usize::from(c == '\n');
                    self.add(c);
                }
            }
        }
    }
}

/// The words of each command: what stands between line ends and the marks given, never none.
pub(super) fn commands(tokens: &[Token], separators: &str) -> Vec<(usize, Vec<String>)> {
    let ends = |token: &Token| match token.kind {
        Kind::Newline => true,
        Kind::Mark(c) => separators.contains(c),
        Kind::Word(_) => false,
    };
    let words = |part: &[Token]| {
        let line = part.first().map_or(0, |token| token.line);
        let words = part.iter().filter_map(|token| match &token.kind {
            Kind::Word(word) => Some(word.clone()),
            Kind::Mark(_) | Kind::Newline => None,
        });
        (line, words.collect::<Vec<_>>())
    };
    let parts = tokens.split(ends).map(words);
    parts.filter(|(_, words)| !words.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, grammar: Grammar) -> Vec<Vec<String>> {
        let commands = commands(&lex(text, grammar), grammar.marks);
        commands.into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn quotes_comments_and_continued_lines() {
        let text = "# it's a comment\nufw allow \\\n  out 'a b'\"c\\\"d\" # end\nx; y && z\n";
        assert_eq!(
            words(text, SHELL),
            [
                vec!["ufw", "allow", "out", "a bc\"d"],
                vec!["x"],
                vec!["y"],
                vec!["z"]
            ]
        );
        let text = "New-X `\r\n -Y 'it''s' `\n -Z \"a`\"b\"\n";
        assert_eq!(
            words(text, POWERSHELL),
            [["New-X", "-Y", "its", "-Z", "a\"b"]]
        );
    }

    #[test]
    fn lines_are_counted_through_quotes_and_continuations() {
        let tokens = lex("a \\\nb '\n\n'\nc", SHELL);
        let lines: Vec<_> = commands(&tokens, "")
            .iter()
            .map(|(line, _)| *line)
            .collect();
        assert_eq!(lines, [1, 5]);
        assert_eq!(lex("", SHELL).len(), 1);
        assert_eq!(words("'never closed", SHELL), [["never closed"]]);
    }
}
