//! Plain English, held by a test: in every page, in the help and in every message of the program.
//!
//! Write as for a colleague who reads it once, at night, with a tunnel down:
//! - one idea a sentence, a subject and a verb, at most [`LONGEST`] words;
//! - the common word, and the one that the field uses: "reports", not "tells"; "fix", not "mend";
//!   "only", not "alone"; "bytes", not "octets";
//! - "if" for a condition, never "where"; "is not a", never "is no"; a noun, not "what is …".
//!
//! [`BANNED`] has the words and phrases that read like a translation. A pattern finds whole words in a
//! row: `a|b` is a choice, and `!a|b` excepts what has one of these words right before or after it.
//! Code, options and addresses count as one word each and are not judged. A cell of a table, an item of
//! a list and a heading are sentences of their own.

mod prose;

use std::fmt::Write as _;

use self::prose::{Prose, pages, strings};

/// The most words of a sentence that a user reads.
const LONGEST: usize = 25;

/// What is not written, and what is written in its place.
const BANNED: &[(&str, &str)] = &[
    ("tell|tells|told|telling", "report, say, show"),
    ("mend|mends|mended|mending", "fix"),
    ("in vain", "without success"),
    (
        "accuse|accuses|accused",
        "blame; better: say what is counted",
    ),
    ("nobody|anybody", "no one, not … any"),
    ("octet|octets", "byte"),
    ("stand|stands|stood", "is"),
    ("beside", "next to, in addition to"),
    ("alone", "only"),
    ("astray", "fails"),
    ("suffice|suffices|sufficed", "is enough"),
    ("!there|longer|more is|are|was|were|be no", "is not a"),
    (
        "!say|says|see|show|shows|shown|know|knows|known|check|checks|find|learn what is|are|was|were",
        "a noun",
    ),
    (
        "where nothing|it|its|the|this|that|these|those|they|there|no|not|a|an|one|neither|both|only|you|your|cloudflared|even|all|some|each|any|another|such|what|so|he|she|we|several",
        "if, when, in which",
    ),
    ("is|are|was|were to be", "must be, or an imperative"),
    ("otherwise called|named", "has another name"),
    ("called otherwise", "has another name"),
    ("how-manieth", "which"),
];

#[test]
fn what_users_read_is_plain_english() {
    let pages = pages();
    let strings = strings();
    assert!(
        pages.len() > 500 && strings.len() > 500,
        "{} and {}",
        pages.len(),
        strings.len()
    );
    let mut faults = String::new();
    let (mut long, mut banned) = (0, 0);
    for Prose { place, text } in pages.iter().chain(&strings) {
        for sentence in sentences(text) {
            let words = words(&sentence);
            if words.len() > LONGEST {
                long += 1;
                let _ = writeln!(faults, "{place}: {} words: {sentence}", words.len());
            }
            for (pattern, instead) in BANNED.iter().filter(|(p, _)| finds(p, &words, &sentence)) {
                banned += 1;
                let _ = writeln!(faults, "{place}: `{pattern}` ({instead}): {sentence}");
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{banned} phrases, {long} sentences of over {LONGEST} words:\n{faults}"
    );
}

/// Sentences that the test must find, and their neighbours that it must let pass.
#[test]
fn the_patterns_find_what_they_name_and_nothing_else() {
    let faults = |sentence: &str| {
        let words = words(sentence);
        BANNED
            .iter()
            .filter(|(p, _)| finds(p, &words, sentence))
            .count()
    };
    for wrong in [
        "The report tells the cause.",
        "That is no proof.",
        "Where nothing answers, wait.",
        "Only the row alone counts.",
        "Look at what is blocked.",
        "(Nobody) answers.",
        "This is to be done once.",
    ] {
        assert_eq!(faults(wrong), 1, "{wrong}");
    }
    for right in [
        "There is no route, and it is no longer used.",
        "A stand-alone program for the standard case.",
        "Here is where to look.",
        "The check shows what is blocked.",
        "What is blocked?",
        "The destination is not reachable.",
    ] {
        assert_eq!(faults(right), 0, "{right}");
    }
}

#[test]
fn a_sentence_ends_at_its_mark() {
    let found = sentences("Use `a._b` here, e.g. so. (See https://a.b?) `nft` is next");
    let expected = [
        "Use `a._b` here, e.g. so.",
        "(See https://a.b?)",
        "`nft` is next",
    ];
    assert_eq!(found, expected);
}

/// Whether words in a row are those of a pattern. A question may begin with "what is".
fn finds(pattern: &str, words: &[String], sentence: &str) -> bool {
    if pattern.contains("what is") && sentence.ends_with('?') {
        return false;
    }
    let (row, unless): (Vec<&str>, Vec<&str>) = pattern
        .split(' ')
        .partition(|choice| !choice.starts_with('!'));
    let among = |choice: &str, word: &str| choice.split('|').any(|one| one == word);
    let excepted = |word: Option<&String>| {
        word.is_some_and(|word| unless.iter().any(|choice| among(&choice[1..], word)))
    };
    (0..words.len()).any(|at| {
        let found = words.get(at..at + row.len());
        let matches = found.is_some_and(|found| row.iter().zip(found).all(|(p, w)| among(p, w)));
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        matches && !excepted(before) && !excepted(words.get(at + row.len()))
    })
}

/// The words of a sentence, in small letters and without punctuation around them.
fn words(sentence: &str) -> Vec<String> {
    let bare = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric() && c != '§')
            .to_lowercase()
    };
    let all = sentence.split_whitespace().map(bare);
    all.filter(|word| !word.is_empty()).collect()
}

/// The sentences of a paragraph.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(last) = sentences.last_mut() {
            last.push_str(if last.is_empty() { "" } else { " " });
            last.push_str(word);
        }
        let end = word.trim_end_matches(['"', '\'', ')', '”', '*', ']']);
        let shortened = ["e.g.", "i.e.", "etc.", "vs."].contains(&end);
        if end.ends_with(['.', '?', '!']) && !shortened {
            sentences.push(String::new());
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}
