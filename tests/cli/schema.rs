//! `docs/report.schema.json` is what the types say. To write it anew after a change of the types:
//! `BLESS=1 cargo test --test cli schema`.

use std::fs;
use std::path::Path;

use tunnelcheck::model::Report;

#[test]
fn the_documented_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some_and(|value| !value.is_empty()) {
        fs::write(&path, &schema).unwrap();
    }
    let documented = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert!(
        documented == schema,
        "run BLESS=1 cargo test --test cli schema"
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
    tunnelcheck::report::read(example.as_bytes()).unwrap();
}

/// Every field of the schema, at any depth, has its name in docs/json.md.
#[test]
fn every_field_is_documented() {
    let page = docs("json.md");
    let mut fields = Vec::new();
    let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap();
    collect_fields(&schema, &mut fields);
    assert!(fields.len() > 60, "{fields:?}");
    let prose = page.split("## Example").next().unwrap();
    for field in &fields {
        assert!(
            prose.contains(&format!("`{field}`")),
            "{field} is not in docs/json.md"
        );
    }
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
