//! What a user reads: the prose of the pages, the strings of the program, and its help.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

/// A piece of prose, and its place for the message.
pub(super) struct Prose {
    pub(super) place: String,
    pub(super) text: String,
}

/// The prose of the pages.
pub(super) fn pages() -> Vec<Prose> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    pages.extend(files(&root.join("docs"), "md"));
    pages.extend(files(&root.join("tests/lab"), "md"));
    let mut prose = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap_or_default();
        assert!(!text.is_empty(), "{} is empty", page.display());
        prose.extend(paragraphs(&shown(root, &page), &text));
    }
    prose
}

/// The paragraphs, items, headings and cells of a page in Markdown, without blocks of code and quotes.
fn paragraphs(page: &str, text: &str) -> Vec<Prose> {
    let mut prose = Vec::new();
    let mut paragraph = String::new();
    let mut hidden = 0_usize;
    let events = Parser::new_ext(text, Options::ENABLE_TABLES);
    for (event, range) in events.into_offset_iter() {
        let ends = matches!(
            event,
            Event::Start(
                Tag::Paragraph | Tag::Item | Tag::Heading { .. } | Tag::TableCell | Tag::List(_)
            ) | Event::End(
                TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_) | TagEnd::TableCell
            ) | Event::HardBreak
        ) || matches!(&event, Event::End(TagEnd::Strong) if paragraph.trim_end().ends_with(':'));
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::BlockQuote(_)) => hidden += 1,
            Event::End(TagEnd::CodeBlock | TagEnd::BlockQuote(_)) => hidden -= 1,
            Event::Text(text) if hidden == 0 => paragraph.push_str(&text),
            Event::Code(code) if hidden == 0 => paragraph.push_str(&one_word(&code)),
            Event::SoftBreak => paragraph.push(' '),
            _ => {}
        }
        if ends && !paragraph.trim().is_empty() {
            let line = text[..range.start].matches('\n').count() + 1;
            prose.push(Prose {
                place: format!("{page}:{line}"),
                text: std::mem::take(&mut paragraph),
            });
        }
    }
    prose
}

/// Code as one word that no pattern finds and that ends no sentence.
fn one_word(code: &CowStr<'_>) -> String {
    format!("`{}`", code.replace(char::is_whitespace, "_"))
}

/// The strings of the program that have a space in them, and the help.
pub(super) fn strings() -> Vec<Prose> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut prose = Vec::new();
    for start in ["src/lib.rs", "src/main.rs"] {
        module(root, &root.join(start), &mut prose);
    }
    prose
}

/// The strings of a module and of the modules in it, but for those of tests.
fn module(root: &Path, file: &Path, prose: &mut Vec<Prose>) {
    let source = fs::read_to_string(file).unwrap_or_default();
    let tokens = TokenStream::from_str(&source);
    let Ok(tokens) = tokens else {
        panic!("{} cannot be read", file.display());
    };
    let mut reader = Reader {
        place: shown(root, file),
        modules: Vec::new(),
        prose,
    };
    reader.read(tokens, false);
    let stem = file.file_stem().unwrap_or_default();
    let folder = file.parent().unwrap_or(root);
    let folder = match stem.to_str() {
        Some("lib" | "main" | "mod") => folder.to_owned(),
        _ => folder.join(stem),
    };
    for name in reader.modules {
        let choices = [
            folder.join(format!("{name}.rs")),
            folder.join(&name).join("mod.rs"),
        ];
        for file in choices.iter().filter(|file| file.is_file()) {
            module(root, file, prose);
        }
    }
}

/// Reads strings out of the tokens of a module.
struct Reader<'a> {
    place: String,
    modules: Vec<String>,
    prose: &'a mut Vec<Prose>,
}

/// Attributes of which a user sees nothing.
const UNSEEN: [&str; 7] = [
    "expect", "allow", "cfg", "cfg_attr", "serde", "derive", "must_use",
];

/// What has its doc comments as its help.
const WITH_HELP: [&str; 4] = ["Parser", "Args", "Subcommand", "ValueEnum"];

impl Reader<'_> {
    /// Reads tokens; in the `help`, doc comments are shown to users.
    fn read(&mut self, tokens: TokenStream, help: bool) {
        let mut tokens = tokens.into_iter().peekable();
        let mut doc = String::new();
        let mut item_has_help = help;
        while let Some(token) = tokens.next() {
            // `#![…]` is read as `#[…]`.
            if matches!(&token, TokenTree::Punct(sign) if sign.as_char() == '#') {
                tokens.next_if(
                    |next| matches!(next, TokenTree::Punct(sign) if sign.as_char() == '!'),
                );
            }
            let attribute = match (&token, tokens.peek()) {
                (TokenTree::Punct(sign), Some(TokenTree::Group(group)))
                    if sign.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
                {
                    Some(group.stream())
                }
                _ => None,
            };
            if let Some(attribute) = attribute {
                tokens.next();
                let text = attribute.to_string().replace(' ', "");
                if text == "cfg(test)" {
                    skip_item(&mut tokens);
                } else if text.starts_with("doc=") {
                    if help {
                        doc.push_str(&strings_in(attribute));
                    }
                } else if text.starts_with("derive") {
                    item_has_help |= WITH_HELP.iter().any(|name| text.contains(name));
                } else if !UNSEEN.iter().any(|name| text.starts_with(name)) {
                    self.read(attribute, false);
                }
                continue;
            }
            self.push(&std::mem::take(&mut doc), token.span());
            match token {
                TokenTree::Literal(literal) => {
                    let text = string(&literal.to_string()).unwrap_or_default();
                    self.push(&text, literal.span());
                }
                TokenTree::Group(group) => {
                    let within = group.delimiter() == Delimiter::Brace && item_has_help;
                    self.read(group.stream(), within);
                    if group.delimiter() == Delimiter::Brace {
                        item_has_help = help;
                    }
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let Some(TokenTree::Ident(name)) = tokens.peek() {
                        self.modules.push(name.to_string());
                    }
                }
                _ => {}
            }
        }
    }

    /// Keeps what is prose: with a space in it, and not a line of commands.
    fn push(&mut self, text: &str, span: proc_macro2::Span) {
        let is_help = ["src/cli", "src/app/args"]
            .iter()
            .any(|place| self.place.starts_with(place));
        for paragraph in lines(text, is_help) {
            if paragraph.trim().contains(' ') {
                self.prose.push(Prose {
                    place: format!("{}:{}", self.place, span.start().line),
                    text: plain(&paragraph),
                });
            }
        }
    }
}

/// The paragraphs of a string: its lines; in the help, whose lines are wrapped, those that belong together.
fn lines(text: &str, is_help: bool) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines() {
        let is_item = line.starts_with("  ") && !line.starts_with("   ");
        if !is_help || is_item || line.trim().is_empty() {
            paragraphs.push(String::new());
        }
        if let Some(last) = paragraphs.last_mut() {
            last.push_str(line);
            last.push(' ');
        }
    }
    paragraphs
}

/// Passes over the item that an attribute belongs to.
fn skip_item(tokens: &mut impl Iterator<Item = TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == ';' => return,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            _ => {}
        }
    }
}

fn strings_in(tokens: TokenStream) -> String {
    let literals = tokens.into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => string(&literal.to_string()),
        _ => None,
    });
    literals
        .map(|line| {
            if line.trim().is_empty() {
                "\n\n".to_owned()
            } else {
                line
            }
        })
        .collect()
}

/// The text of a literal, if it is a string.
fn string(literal: &str) -> Option<String> {
    let literal: syn::LitStr = syn::parse_str(literal).ok()?;
    Some(literal.value())
}

/// A message with placeholders and code as one word each.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let (mut code, mut depth) = (false, 0_usize);
    for c in text.chars() {
        match c {
            '`' => code = !code,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let inside = code || depth > 0;
        plain.push(if inside && c.is_whitespace() { '_' } else { c });
    }
    plain
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    paths
}

fn shown(root: &Path, file: &Path) -> String {
    let within = file.strip_prefix(root).unwrap_or(file);
    within.display().to_string()
}

#[test]
fn prose_is_what_a_user_reads() {
    let page = "# A heading\n\nUse `a. b` here. See <https://a.b>.\n\n    code is not\n\n| a cell | b |\n| --- | --- |\n| one | **Do:** two |\n\n- first\n  line\n";
    let prose = paragraphs("page", page);
    let texts: Vec<_> = prose.iter().map(|prose| prose.text.trim()).collect();
    assert_eq!(
        texts,
        [
            "A heading",
            "Use `a._b` here. See https://a.b.",
            "a cell",
            "b",
            "one",
            "Do:",
            "two",
            "first line"
        ]
    );

    let source = r#"
        //! Not seen.
        #[derive(Args)] struct A { /// This is help.
            a: u8 }
        /// Not help.
        fn a() { say("one \
            two"); say(format!("{a} three `a b`")); key("nospace") }
        #[expect(x, reason = "not seen")]
        #[cfg(test)] mod tests { fn a() { say("not seen") } }
        mod other;
    "#;
    let mut prose = Vec::new();
    let mut reader = Reader {
        place: "src/a.rs".to_owned(),
        modules: Vec::new(),
        prose: &mut prose,
    };
    reader.read(TokenStream::from_str(source).unwrap_or_default(), false);
    assert_eq!(reader.modules, ["other"]);
    let texts: Vec<_> = prose.iter().map(|prose| prose.text.trim()).collect();
    assert_eq!(texts, ["This is help.", "one two", "{a} three `a_b`"]);
}
