//! Every place in a message of either version, request or answer, where an id of a task or context may stand.
//!
//! It goes where the protocol puts them and nowhere else: free-form data (`metadata`, parts, artifacts) may hold
//! anything.

use serde_json::{Map, Value};

use crate::{
    fields::{self, named},
    seal::Kind,
};

/// What the field `id` of the outermost object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outer {
    /// The id of a task.
    Task,
    /// Whatever the object is by its own look.
    Looks,
}

/// Calls `visit` with each id, to read or change it. A `null` and an empty text are no ids.
///
/// # Errors
/// The first error of `visit`; an id that is no text is one of [`NotText`].
pub(crate) fn ids<E: From<NotText>>(
    value: &mut Value,
    outer: Outer,
    visit: &mut dyn FnMut(Kind, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Object(object) => walk(object, outer, visit),
        Value::Array(items) => items.iter_mut().try_for_each(|item| ids(item, outer, visit)),
        _ => Ok(()),
    }
}

/// An id that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is not a text")]
pub(crate) struct NotText;

fn walk<E: From<NotText>>(
    object: &mut Map<String, Value>,
    outer: Outer,
    visit: &mut dyn FnMut(Kind, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    let task = outer == Outer::Task || is_task(object);
    for (key, value) in object.iter_mut() {
        match named(key) {
            Some("id") if task => one(Kind::Task, value, visit)?,
            Some("taskId") => one(Kind::Task, value, visit)?,
            Some("contextId") => one(Kind::Context, value, visit)?,
            Some("pageToken" | "nextPageToken") => one(Kind::Page, value, visit)?,
            Some("referenceTaskIds") => match value {
                Value::Array(items) => items.iter_mut().try_for_each(|item| one(Kind::Task, item, visit))?,
                Value::Null => {}
                _ => return Err(NotText.into()),
            },
            // 0.3 by HTTP+JSON names a task by its resource.
            Some("name" | "parent") => resource(value, visit)?,
            Some("task") => ids(value, Outer::Task, visit)?,
            Some("tasks") => {
                if let Value::Array(items) = value {
                    items.iter_mut().try_for_each(|item| ids(item, Outer::Task, visit))?;
                }
            }
            Some(
                "message"
                | "request"
                | "msg"
                | "status"
                | "statusUpdate"
                | "artifactUpdate"
                | "history"
                | "configs"
                | "config"
                | "configuration"
                | "pushNotification"
                | "pushNotificationConfig"
                | "taskPushNotificationConfig",
            ) => ids(value, Outer::Looks, visit)?,
            _ => {}
        }
    }
    Ok(())
}

/// A task says so (0.3), or has a status and does not name another task.
fn is_task(object: &Map<String, Value>) -> bool {
    let said = fields::get(object, "kind").and_then(Value::as_str) == Some("task");
    said || (object.get("status").is_some_and(Value::is_object) && fields::get(object, "taskId").is_none())
}

fn one<E: From<NotText>>(
    kind: Kind,
    value: &mut Value,
    visit: &mut dyn FnMut(Kind, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) if text.is_empty() => Ok(()),
        Value::String(text) => visit(kind, text),
        _ => Err(NotText.into()),
    }
}

/// `tasks/{id}`, and whatever follows.
fn resource<E: From<NotText>>(
    value: &mut Value,
    visit: &mut dyn FnMut(Kind, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    let Value::String(text) = value else { return Ok(()) };
    let Some(rest) = text.strip_prefix("tasks/") else { return Ok(()) };
    let (task, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut task = task.to_owned();
    let after = after.to_owned();
    if !task.is_empty() {
        visit(Kind::Task, &mut task)?;
    }
    *text = format!("tasks/{task}{after}");
    Ok(())
}

/// Refuses a message of a caller that has, where ids stand, a field that can be read in two ways.
pub(crate) fn check(value: &Value) -> Result<(), fields::Ambiguous> {
    match value {
        Value::Object(object) => {
            fields::check(object)?;
            object.iter().try_for_each(|(key, value)| match named(key) {
                Some("metadata") | None => Ok(()),
                Some(_) => check(value),
            })
        }
        Value::Array(items) => items.iter().try_for_each(check),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn found(mut value: Value, outer: Outer, expected: &[&str]) {
        let mut all = Vec::new();
        ids::<NotText>(&mut value, outer, &mut |kind, text| {
            let kind = match kind {
                Kind::Task => "t",
                Kind::Context => "c",
                Kind::Page => "p",
            };
            all.push(format!("{kind}:{text}"));
            Ok(())
        })
        .unwrap();
        all.sort();
        assert_eq!(all, expected, "{value}");
    }

    #[test]
    fn ids_are_found_wherever_the_protocol_puts_them() {
        let message = json!({"messageId": "m", "contextId": "c1", "taskId": "t1", "referenceTaskIds": ["t2"],
            "parts": [{"data": {"taskId": "no"}}], "metadata": {"taskId": "no"}});
        let seen = ["c:c1", "t:t1", "t:t2"];
        found(json!({"message": message}), Outer::Looks, &seen);
        found(message.clone(), Outer::Looks, &seen);
        let task = json!({"id": "t3", "contextId": "c3", "status": {"state": "x", "message": message},
            "history": [message], "artifacts": [{"artifactId": "a", "metadata": {"contextId": "no"}}]});
        let all = ["c:c1", "c:c1", "c:c3", "t:t1", "t:t1", "t:t2", "t:t2", "t:t3"];
        found(task.clone(), Outer::Looks, &all);
        found(json!({"task": task}), Outer::Looks, &all);
        found(json!({"tasks": [task], "nextPageToken": "n", "totalSize": 3}), Outer::Looks, &{
            let mut all = all.to_vec();
            all.insert(3, "p:n");
            all
        });
        found(
            json!({"statusUpdate": {"taskId": "t", "contextId": "c", "status": {}}}),
            Outer::Looks,
            &["c:c", "t:t"],
        );
        found(json!({"artifactUpdate": {"task_id": "t", "context_id": "c"}}), Outer::Looks, &["c:c", "t:t"]);
        found(
            json!({"kind": "status-update", "taskId": "t", "status": {"message": null}}),
            Outer::Looks,
            &["t:t"],
        );
        found(json!({"kind": "task", "id": "t"}), Outer::Looks, &["t:t"]);
    }

    #[test]
    fn the_id_of_a_config_is_no_task() {
        let config = json!({"taskId": "t", "id": "config", "url": "https://a.example"});
        found(config.clone(), Outer::Looks, &["t:t"]);
        found(json!([config]), Outer::Looks, &["t:t"]);
        found(json!({"configs": [config]}), Outer::Looks, &["t:t"]);
        found(json!({"taskId": "t", "pushNotificationConfig": {"id": "config"}}), Outer::Looks, &["t:t"]);
        let old = json!({"name": "tasks/t/pushNotificationConfigs/c", "pushNotificationConfig": {"id": "c"}});
        found(old, Outer::Looks, &["t:t"]);
        found(json!({"id": "t", "pushNotificationConfigId": "c"}), Outer::Task, &["t:t"]);
    }

    #[test]
    fn what_is_no_text_is_no_id() {
        for odd in [json!({"taskId": 1}), json!({"contextId": ["c"]}), json!({"referenceTaskIds": "t"})] {
            let mut odd = odd;
            assert_eq!(ids(&mut odd, Outer::Looks, &mut |_, _| Ok(())), Err(NotText), "{odd}");
        }
        found(json!({"taskId": null, "contextId": ""}), Outer::Looks, &[]);
    }

    #[test]
    fn fields_are_checked_where_ids_stand() {
        assert!(check(&json!({"message": {"taskID": "t"}})).is_err());
        assert!(
            check(&json!({"message": {"parts": [{"data": {"taskID": "t"}}], "metadata": {"taskID": "t"}}}))
                .is_ok()
        );
    }
}
