//! `docs/report.schema.json` is what the types say. To write it anew after a change of the types:
//! `BLESS=1 cargo test --test it schema`.

use std::fs;
use std::path::Path;

use schemars::Schema;
use tunnelcheck::internal::diff::Difference;
use tunnelcheck::internal::model::Report;

#[test]
fn the_documented_schemas_are_those_of_the_types() {
    hold("docs/report.schema.json", &schemars::schema_for!(Report));
    hold("docs/diff.schema.json", &schemars::schema_for!(Difference));
}

fn hold(path: &str, schema: &Schema) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let schema = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some_and(|value| !value.is_empty()) {
        fs::write(&path, &schema).unwrap();
    }
    let documented = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert!(
        documented == schema,
        "run BLESS=1 cargo test --test it schema"
    );
}

fn docs(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

#[test]
fn the_documented_example_is_a_report() {
    let page = docs("json.md");
    let example = page
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    tunnelcheck::internal::report::read(example.as_bytes()).unwrap();
}

/// Every field of the schema, at any depth, has its name in docs/json.md.
#[test]
fn every_field_is_documented() {
    assert!(documented_fields("json.md", schemars::schema_for!(Report)) > 60);
}

#[test]
fn every_field_of_a_difference_is_documented() {
    assert!(documented_fields("diff.md", schemars::schema_for!(Difference)) > 30);
}

fn documented_fields(page: &str, schema: Schema) -> usize {
    let text = docs(page);
    let mut fields = Vec::new();
    collect_fields(&schema.to_value(), &mut fields);
    let prose = text.split("## Example").next().unwrap();
    for field in &fields {
        assert!(
            prose.contains(&format!("`{field}`")),
            "{field} is not in docs/{page}"
        );
    }
    fields.len()
}

fn collect_fields(schema: &serde_json::Value, fields: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|found| found.as_object()) {
        fields.extend(properties.keys().cloned());
    }
    let parts: Vec<_> = match schema {
        serde_json::Value::Object(parts) => parts.values().collect(),
        serde_json::Value::Array(parts) => parts.iter().collect(),
        _ => Vec::new(),
    };
    for part in parts {
        collect_fields(part, fields);
    }
}
