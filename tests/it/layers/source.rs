//! The modules of a crate and what they import, read from the source. What tests import does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What is for tests only, by the name of the module.
const FOR_TESTS: [&str; 6] = [
    "tests",
    "samples",
    "proofs",
    "hostile",
    "properties",
    "main",
];

/// The text of each module by its path (`a::b`; the root is empty), without comments and tests.
pub(super) struct Modules(BTreeMap<String, String>);

/// One name that is imported: where it comes from, and what it is called here.
struct Import {
    path: Vec<String>,
    name: String,
    public: bool,
}

pub(super) fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

impl Modules {
    pub(super) fn read(root: &Path) -> Self {
        let mut found = BTreeMap::new();
        read_folder(root, "", &mut found);
        assert!(found.len() > 100, "{} holds no crate", root.display());
        Self(found)
    }

    pub(super) fn of<const N: usize>(modules: [(&str, &str); N]) -> Self {
        Self(
            modules
                .map(|(path, text)| (path.to_owned(), product(text)))
                .into(),
        )
    }

    /// Which module imports from which other one. A name counts for the module that it comes from, whoever
    /// passes it on.
    pub(super) fn imports(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (module, text) in &self.0 {
            for import in imports(text) {
                if let Some(target) = self.resolve(module, &import.path, 0)
                    && target != *module
                {
                    found.insert((module.clone(), target));
                }
            }
        }
        found
    }

    /// The module that a path leads to; none for other crates.
    fn resolve(&self, from: &str, path: &[String], depth: usize) -> Option<String> {
        let mut at = from.to_owned();
        let mut rest = path.iter().map(String::as_str).peekable();
        match *rest.peek()? {
            "crate" => at = String::new(),
            "self" => {}
            "super" => parent(from).clone_into(&mut at),
            first if self.0.contains_key(&join(from, first)) => at = join(from, first),
            _ => return None,
        }
        rest.next();
        for segment in rest {
            if segment == "super" {
                at = parent(&at).to_owned();
            } else if self.0.contains_key(&join(&at, segment)) {
                at = join(&at, segment);
            } else {
                return Some(self.origin(&at, segment, depth));
            }
        }
        Some(at)
    }

    /// The module that a name of `module` comes from.
    fn origin(&self, module: &str, name: &str, depth: usize) -> String {
        let passed_on = imports(&self.0[module])
            .into_iter()
            .find(|import| import.public && import.name == name && depth < 8);
        passed_on
            .and_then(|import| self.resolve(module, &import.path, depth + 1))
            .unwrap_or_else(|| module.to_owned())
    }

    /// Siblings that import each other, by whatever detour, each with all that is below it. What parents and
    /// children import from each other does not count.
    pub(super) fn circles(&self) -> Vec<BTreeSet<String>> {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in self.imports() {
            if let Some((from, to)) = siblings(&from, &to) {
                edges.entry(from).or_default().insert(to);
            }
        }
        let reached: BTreeMap<_, _> = edges
            .keys()
            .map(|from| (from.clone(), reachable(&edges, from)))
            .collect();
        let mut circles = BTreeSet::new();
        for (from, to) in &reached {
            let back = |other: &&String| reached.get(*other).is_some_and(|to| to.contains(from));
            let circle: BTreeSet<_> = to.iter().filter(back).cloned().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// The modules below the same parent that two modules are, or are part of; none for a parent and its child.
fn siblings(from: &str, to: &str) -> Option<(String, String)> {
    let (mut a, mut b) = (from.split("::"), to.split("::"));
    let mut common = String::new();
    loop {
        let (own, other) = (a.next()?, b.next()?);
        if own != other {
            return Some((join(&common, own), join(&common, other)));
        }
        common = join(&common, own);
    }
}

fn reachable(edges: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for to in edges.get(next).into_iter().flatten() {
            if reached.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    reached
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() {
        return name.to_owned();
    }
    format!("{module}::{name}")
}

fn read_folder(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if FOR_TESTS.contains(&stem.as_str()) || (module.is_empty() && stem == "build") {
            continue;
        }
        let name = match stem.as_str() {
            "mod" | "lib" => module.to_owned(),
            _ => join(module, &stem),
        };
        if path.is_dir() {
            read_folder(&path, &name, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.insert(name, product(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text without comments, and without the tests at its end.
fn product(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What a text imports, and what it names by a path from `crate`, `super` or `self`.
fn imports(text: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        let before = rest[..at].chars().next_back();
        let (word, after) = word(&rest[at..]);
        match word {
            "use" => {
                let statement = after.split(';').next().unwrap_or_default();
                let public = text[..text.len() - rest.len() + at]
                    .trim_end()
                    .ends_with(['b', ')']);
                expand(statement, &[], public, &mut found);
                rest = &after[statement.len()..];
            }
            "crate" | "super" | "self" if after.starts_with("::") && before != Some(':') => {
                let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
                let (path, after) = after.split_at(end.unwrap_or(after.len()));
                expand(&format!("{word}{path}"), &[], false, &mut found);
                rest = after;
            }
            _ => rest = after,
        }
    }
    found
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    text.split_at(end.unwrap_or(text.len()))
}

/// The names of a `use` tree, such as `a::{b, c::d as e}`.
fn expand(tree: &str, before: &[String], public: bool, found: &mut Vec<Import>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let mut path = before.to_vec();
        path.extend(segments(head));
        let group = group.trim().strip_suffix('}').unwrap_or(group);
        for part in parts(group) {
            expand(part, &path, public, found);
        }
        return;
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut whole = before.to_vec();
    whole.extend(segments(path));
    if whole.len() > 1
        && whole
            .last()
            .is_some_and(|last| last == "self" || last == "*")
    {
        whole.pop();
    }
    let Some(last) = whole.last().cloned() else {
        return;
    };
    let name = if name.is_empty() {
        last
    } else {
        name.trim().to_owned()
    };
    found.push(Import {
        path: whole,
        name,
        public,
    });
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    path.split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
}

/// The parts between the commas outside of braces.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[start..]);
    found.retain(|part| !part.trim().is_empty());
    found
}
