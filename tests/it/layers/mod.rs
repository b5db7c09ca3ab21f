//! The order of the modules: each layer imports only what is below it, and no two modules import each other
//! but parent and child.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::{Modules, parent};

/// From the bottom up. A module may import those of the lines above its own, and none of its own line. The
/// root of the crate (`lib.rs`) and the program (`main.rs`) import what they like.
const LAYERS: [&[&str]; 13] = [
    &["encoding", "model"],
    &["catalog", "oracle"],
    &["targets", "net", "evidence", "forecast"],
    &["diagnose"],
    &["plan", "diff"],
    &["observe"],
    &["report"],
    &["rules"],
    &["own_rules"],
    &["check"],
    &["blocking"],
    &["rehearse"],
    &["app"],
];

/// Modules that still import each other. A new circle is a failure; one that is gone should leave this list.
const KNOWN_CIRCLES: [&[&str]; 0] = [];

fn modules() -> Modules {
    Modules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn each_layer_imports_only_what_is_below_it() {
    let mut wrong = BTreeSet::new();
    for (from, to) in modules().imports() {
        let top = |module: &str| module.split("::").next().map(str::to_owned).unwrap();
        let (above, below) = (top(&from), top(&to));
        if above == below || above.is_empty() {
            continue;
        }
        let rank = |module: &str| layer(module).unwrap_or_else(|| panic!("{module}: no layer"));
        if rank(&above) <= rank(&below) {
            wrong.insert(format!("{from} imports {to}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_modules_import_each_other_but_parent_and_child() {
    let circles = modules().circles();
    let known = |circle: &BTreeSet<String>| {
        KNOWN_CIRCLES
            .iter()
            .any(|known| circle.iter().all(|module| known.contains(&module.as_str())))
    };
    let new: Vec<_> = circles.iter().filter(|circle| !known(circle)).collect();
    assert!(new.is_empty(), "{new:#?}");
}

#[test]
fn the_page_has_the_same_layers() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let page = fs::read_to_string(page).unwrap().replace("\r\n", "\n");
    let layers = LAYERS.map(|layer| layer.join("  ")).join("\n");
    assert!(
        page.contains(&format!("```text\n{layers}\n```")),
        "{layers}"
    );
}

#[test]
fn imports_are_found_in_every_form() {
    let modules = Modules::of([
        ("", "mod a; mod b;"),
        (
            "a",
            "mod c; pub use c::{Deep, other as Other};\nuse crate::b::{\n    self, Thing,\n};",
        ),
        (
            "a::c",
            "use super::super::b;\n// use crate::d;\n#[cfg(test)]\nmod tests { use crate::e; }",
        ),
        ("b", "fn f() -> crate::a::Deep {}"),
        ("d", "use crate::{a::{Other}, b};"),
        ("e", ""),
    ]);
    let found: BTreeSet<_> = modules.imports();
    let expected = [
        ("a", "b"),
        ("a", "a::c"),
        ("a::c", "b"),
        ("b", "a::c"),
        ("d", "a::c"),
        ("d", "b"),
    ];
    let expected = expected.map(|(from, to)| (from.to_owned(), to.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
    let circle: BTreeSet<_> = ["a", "b"].map(str::to_owned).into();
    assert_eq!(modules.circles(), [circle]);
    assert_eq!(parent("a::c"), "a");
}
