//! The strings of a report that may hold anything, found by the schema of its types.
//!
//! A string is closed where its type has a finite list of values, such as a status or a cause. Every other
//! one is open. So a new field is open until its type says otherwise.

use schemars::schema_for;
use serde_json::Value;

use crate::model::Report;

/// The report with every open string changed, and every key that is not a field's name.
///
/// # Errors
/// What `change` made of a typed string, such as an address, no longer reads as one.
pub(super) fn map(
    report: &Report,
    change: &dyn Fn(&str) -> String,
) -> Result<Report, serde_json::Error> {
    let schema = Schema(schema_for!(Report).to_value());
    let value = serde_json::to_value(report)?;
    serde_json::from_value(schema.map(&[&schema.0], value, change))
}

struct Schema(Value);

impl Schema {
    fn map(&self, nodes: &[&Value], value: Value, change: &dyn Fn(&str) -> String) -> Value {
        let nodes: Vec<_> = nodes.iter().flat_map(|node| self.variants(node)).collect();
        match value {
            Value::String(text) if nodes.iter().any(|node| lists(node, &text)) => {
                Value::String(text)
            }
            Value::String(text) => Value::String(change(&text)),
            Value::Array(items) => {
                let of_items: Vec<_> = nodes.iter().filter_map(|node| node.get("items")).collect();
                let items = items.into_iter();
                Value::Array(
                    items
                        .map(|item| self.map(&of_items, item, change))
                        .collect(),
                )
            }
            Value::Object(fields) => {
                let fitting = nodes.iter().filter(|node| Self::fits(node, &fields));
                let nodes: Vec<_> = fitting.copied().collect();
                let fields = fields.into_iter().map(|(name, value)| {
                    let own: Vec<_> = nodes
                        .iter()
                        .filter_map(|node| node.get("properties")?.get(&name))
                        .collect();
                    if own.is_empty() {
                        let others = nodes.iter();
                        let others: Vec<_> = others
                            .filter_map(|node| node.get("additionalProperties"))
                            .collect();
                        return (change(&name), self.map(&others, value, change));
                    }
                    let value = self.map(&own, value, change);
                    (name, value)
                });
                Value::Object(fields.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// The schema itself, and all that it refers to or is one of.
    fn variants<'a>(&'a self, node: &'a Value) -> Vec<&'a Value> {
        let referred = node.get("$ref").and_then(Value::as_str);
        let referred = referred.and_then(|path| self.0.pointer(path.strip_prefix('#')?));
        let lists = ["anyOf", "oneOf", "allOf"].into_iter();
        let members = lists
            .filter_map(|list| node.get(list)?.as_array())
            .flatten();
        let below = referred.into_iter().chain(members);
        std::iter::once(node)
            .chain(below.flat_map(|node| self.variants(node)))
            .collect()
    }

    /// Whether the tags of this variant are those of the object.
    fn fits(node: &Value, object: &serde_json::Map<String, Value>) -> bool {
        let properties = node.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().all(|(name, of)| {
            let tag = of.get("const");
            tag.is_none_or(|tag| object.get(name) == Some(tag))
        })
    }
}

/// Whether the text is a value that this schema lists.
fn lists(node: &Value, text: &str) -> bool {
    let listed = node.get("enum").and_then(Value::as_array);
    let mut values = listed.into_iter().flatten().chain(node.get("const"));
    values.any(|value| value == text)
}
