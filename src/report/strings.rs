//! Changing the texts of a report wherever they stand, through its JSON form.

use serde_json::Value;

use crate::model::Report;

/// The report with every string changed by `change`, which is given the key that the string stands
/// under (that of the array, for items) and the string. Keys that are names themselves, such as
/// `region1`, are changed with an empty key.
///
/// # Errors
/// What `change` made of a typed field, such as a status or an address, no longer reads as one.
pub(super) fn map(
    report: &Report,
    change: &dyn Fn(&str, &str) -> String,
) -> Result<Report, serde_json::Error> {
    serde_json::from_value(map_value("", serde_json::to_value(report)?, change))
}

fn map_value(key: &str, value: Value, change: &dyn Fn(&str, &str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(key, &text)),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| map_value(key, item, change));
            Value::Array(items.collect())
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = map_value(&name, value, change);
                (change("", &name), value)
            });
            Value::Object(fields.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
