//! What changes by itself in a listing: counters, remaining times, dates, elements that packets add.

/// Takes away what changes by itself: `packets 1 bytes 2`, `expires 3s`, `used 4 bytes`, `[1:2]`,
/// comments with dates, and the elements of sets that rules add to.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut dynamic = false;
    let mut within = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let word = line.trim_start();
        if word.starts_with("set ") || word.starts_with("map ") {
            dynamic = false;
        }
        dynamic |= word.starts_with("flags ") && word.contains("dynamic");
        within |= dynamic && word.starts_with("elements = ");
        if !within {
            mask_line(line, &mut masked);
        }
        within &= !line.ends_with('}');
    }
    masked
}

fn mask_line(line: &str, masked: &mut String) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut kept = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let counting = counting(rest);
        if counting == 0 {
            kept.push(*word);
        }
        rest = rest
            .get(counting..)
            .filter(|_| counting > 0)
            .unwrap_or(after);
    }
    masked.push_str(&kept.join(" "));
    masked.push('\n');
}

/// How many of the first words only say how much has been counted, or how long is left.
fn counting(words: &[&str]) -> usize {
    let number = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    match words {
        [packets, n, "bytes", m, ..] if packets.trim() == "packets" && number(n) && number(m) => 4,
        ["used", n, _, ..] if number(n) => 3,
        ["expires", time, ..] if number(time) => 2,
        [word, ..] if is_counter(word) => 1,
        _ => 0,
    }
}

/// `[12:3456]`, as iptables-save prints counters.
fn is_counter(word: &str) -> bool {
    let inner = word
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let numbers = inner.and_then(|inner| inner.split_once(':'));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(packets, bytes)| digits(packets) && digits(bytes))
}
