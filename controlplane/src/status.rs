//! The statuses of objects, with the times at which they changed, and a copy of them on disk.

mod standing;
mod writer;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use api::Name;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use translate::Status;
use wire::publish::Publisher;

pub(crate) use writer::writer;

/// The file in the state directory.
const FILE: &str = "status.json";

/// The statuses of all objects. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Statuses {
    file: PathBuf,
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Statuses {
    /// Reads what was told last; what cannot be read is told anew.
    pub(crate) fn open(state: &Path) -> Self {
        let file = state.join(FILE);
        let kept =
            fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, kept: Arc::new(Mutex::new(kept)) }
    }

    /// Takes new statuses.
    pub(crate) fn update(&self, changed: &[(Name, Option<Status>)], now: SystemTime) {
        let now = time_text(seconds(now));
        let mut kept = self.kept.lock();
        for (name, status) in changed {
            let name = name.to_string();
            match status.as_ref().and_then(|status| serde_json::to_value(status).ok()) {
                Some(mut value) => {
                    stamp(&mut value, kept.get(&name), &now);
                    kept.insert(name, value);
                }
                None => drop(kept.remove(&name)),
            }
        }
    }

    /// Forgets objects that are not there any more, of an earlier run.
    pub(crate) fn keep_only(&self, statuses: &BTreeMap<Name, Status>) {
        let names: std::collections::BTreeSet<String> = statuses.keys().map(ToString::to_string).collect();
        self.kept.lock().retain(|name, _| names.contains(name));
    }

    /// One status.
    pub(crate) fn of(&self, name: &Name, publisher: &Publisher) -> Option<Value> {
        let name = name.to_string();
        let mut status = self.kept.lock().get(&name).cloned()?;
        standing::tell(publisher, &name, &mut status);
        Some(status)
    }

    /// All of them, with how far each came at the proxies.
    pub(crate) fn all(&self, publisher: &Publisher) -> Value {
        let kept: Vec<(String, Value)> =
            self.kept.lock().iter().map(|(name, status)| (name.clone(), status.clone())).collect();
        let told = kept.into_iter().map(|(name, mut status)| {
            standing::tell(publisher, &name, &mut status);
            (name, status)
        });
        Value::Object(told.collect())
    }

    /// Writes the copy on disk (blocking).
    pub(crate) fn write(&self, publisher: &Publisher) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.all(publisher))?;
        let beside = self.file.with_extension("json.new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        drop(file);
        fs::rename(&beside, &self.file)
    }
}

/// Gives each condition the time since when it is so.
fn stamp(new: &mut Value, old: Option<&Value>, now: &str) {
    let Some(new) = new.as_object_mut() else { return };
    stamp_list(new, old, now);
    for (list, key) in [("ancestors", "ancestorRef"), ("parents", "parentRef"), ("listeners", "name")] {
        let before = old.and_then(|old| old[list].as_array());
        for item in new.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let before = before.and_then(|before| before.iter().find(|other| other[key] == item[key]));
            if let Some(item) = item.as_object_mut() {
                stamp_list(item, before, now);
            }
        }
    }
}

fn stamp_list(holder: &mut Map<String, Value>, old: Option<&Value>, now: &str) {
    let before = old.and_then(|old| old["conditions"].as_array());
    for condition in holder.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let same =
            |other: &&Value| other["type"] == condition["type"] && other["status"] == condition["status"];
        let since = before
            .and_then(|before| before.iter().find(same))
            .and_then(|other| other["lastTransitionTime"].as_str())
            .unwrap_or(now)
            .to_owned();
        if let Some(condition) = condition.as_object_mut() {
            condition.insert("lastTransitionTime".to_owned(), Value::String(since));
        }
    }
}

/// A time as seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time in RFC 3339.
pub(crate) fn time_text(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or_else(String::new, |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_keeps_the_time_since_when_it_is_so() {
        let condition = |status: &str| json!({"conditions": [{"type": "Accepted", "status": status}]});
        let mut first = condition("True");
        stamp(&mut first, None, "one");
        let mut same = condition("True");
        stamp(&mut same, Some(&first), "two");
        assert_eq!(same["conditions"][0]["lastTransitionTime"], "one");
        let mut other = condition("False");
        stamp(&mut other, Some(&same), "three");
        assert_eq!(other["conditions"][0]["lastTransitionTime"], "three");
    }
}
