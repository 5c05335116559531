//! Fields of objects by either spelling that readers of ProtoJSON take (`taskId`, `task_id`).
//!
//! What stands under both spellings, or under one that differs only by case, would be read differently by different
//! readers, so in what callers send it is refused.

use serde_json::{Map, Value};

/// The fields of messages that say whose something is, who is asked, or where something is sent.
pub(crate) const TOLD: [&str; 29] = [
    "id",
    "taskId",
    "contextId",
    "referenceTaskIds",
    "tenant",
    "message",
    "request",
    "msg",
    "configuration",
    "config",
    "pushNotification",
    "pushNotificationConfig",
    "taskPushNotificationConfig",
    "pushNotificationConfigId",
    "configId",
    "url",
    "name",
    "parent",
    "pageToken",
    "nextPageToken",
    "status",
    "task",
    "tasks",
    "statusUpdate",
    "artifactUpdate",
    "history",
    "configs",
    "metadata",
    "kind",
];

/// A field that two readers would read differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {0:?} can be read in two ways")]
pub(crate) struct Ambiguous(pub(crate) String);

/// The value of a field, in either spelling.
pub(crate) fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.get(&snake(name)))
}

/// The field that a key names, in either spelling, if it is one of [`TOLD`].
pub(crate) fn named(key: &str) -> Option<&'static str> {
    TOLD.into_iter().find(|name| key == *name || key == snake(name))
}

/// A text that is there and not empty; ProtoJSON does not tell an empty one from none.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    get(object, name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Refuses an object with a field that can be read in two ways.
pub(crate) fn check(object: &Map<String, Value>) -> Result<(), Ambiguous> {
    for key in object.keys() {
        let folded = fold(key);
        let Some(name) = TOLD.into_iter().find(|name| fold(name) == folded) else { continue };
        let snake = snake(name);
        let both = snake != name && object.contains_key(name) && object.contains_key(&snake);
        if both || (key != name && *key != snake) {
            return Err(Ambiguous(key.chars().take(64).collect()));
        }
    }
    Ok(())
}

/// A key without case and without underscores.
pub(crate) fn fold(key: &str) -> String {
    key.chars()
        .filter(|letter| *letter != '_')
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// `task_id` of `taskId`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn checked(value: Value, good: bool) {
        assert_eq!(check(value.as_object().unwrap()).is_ok(), good, "{value}");
    }

    #[test]
    fn a_field_has_two_spellings_and_stands_in_one() {
        let object = json!({"task_id": "7", "contextId": "c", "tenant": ""});
        let object = object.as_object().unwrap();
        assert_eq!(text(object, "taskId"), Some("7"));
        assert_eq!(text(object, "contextId"), Some("c"));
        assert_eq!(text(object, "tenant"), None);
        checked(json!({"task_id": "7"}), true);
        checked(json!({"taskId": "7", "other": 1, "Other": 2}), true);
        checked(json!({"taskId": "7", "task_id": "7"}), false);
        for odd in ["TaskId", "taskID", "taskid", "task__id", "TASK_ID", "ta\u{17f}kId"] {
            checked(json!({ odd: "7" }), false);
        }
    }
}
