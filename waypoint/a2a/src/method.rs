//! Methods by the names of 1.0, whichever version named them, and the versions themselves.

use std::sync::Arc;

/// How long the name of a method may be, in bytes.
pub const METHOD_MAX: usize = 256;

/// A version of the protocol that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.0.
    V1,
    /// 0.3.
    V03,
}

impl Version {
    /// The version of a text as `A2A-Version` says it; a patch level does not matter.
    pub fn from_name(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let version = match (parts.next()?, parts.next()?) {
            ("1", "0") => Self::V1,
            ("0", "3") => Self::V03,
            _ => return None,
        };
        let patch = parts
            .next()
            .is_none_or(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()));
        (patch && parts.next().is_none()).then_some(version)
    }
}

/// What a method does to the ids in its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Sends a message.
    Send,
    /// Sends a message and streams what comes of it.
    Stream,
    /// Reads a task.
    Get,
    /// Lists tasks.
    List,
    /// Cancels a task.
    Cancel,
    /// Streams what comes of a task.
    Subscribe,
    /// Sets where a task is told of.
    PushCreate,
    /// Reads where.
    PushGet,
    /// Lists where.
    PushList,
    /// Ends it.
    PushDelete,
    /// Reads the card for those who are known.
    ExtendedCard,
    /// Reads the public card.
    Card,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Its name in 1.0, or its own if it is of an extension.
    pub name: Arc<str>,
    /// Which it is; `None`: of an extension.
    pub known: Option<Known>,
}

const TABLE: [(Known, &str, &str); 11] = [
    (Known::Send, "SendMessage", "message/send"),
    (Known::Stream, "SendStreamingMessage", "message/stream"),
    (Known::Get, "GetTask", "tasks/get"),
    (Known::List, "ListTasks", "tasks/list"),
    (Known::Cancel, "CancelTask", "tasks/cancel"),
    (Known::Subscribe, "SubscribeToTask", "tasks/resubscribe"),
    (Known::PushCreate, "CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set"),
    (Known::PushGet, "GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get"),
    (Known::PushList, "ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list"),
    (Known::PushDelete, "DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete"),
    (Known::ExtendedCard, "GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
];

impl Method {
    /// A method of the protocol.
    pub fn of(known: Known) -> Self {
        let name =
            TABLE.iter().find(|(it, _, _)| *it == known).map_or(mesh::facts::A2aFacts::CARD, |row| row.1);
        Self { name: name.into(), known: Some(known) }
    }

    /// The method of a JSON-RPC message and the version that calls it so; an extension's is of no version.
    ///
    /// A name is of an extension if it has a namespace (`/`, `.` or `:` in it). Any other name that is not known, or
    /// that is known but for its case, is no method: `None`.
    pub fn from_name(name: &str) -> Option<(Self, Option<Version>)> {
        for (known, v1, v03) in TABLE {
            if name == v1 {
                return Some((Self::of(known), Some(Version::V1)));
            }
            if name == v03 {
                return Some((Self::of(known), Some(Version::V03)));
            }
            if name.eq_ignore_ascii_case(v1) || name.eq_ignore_ascii_case(v03) {
                return None;
            }
        }
        let printable = name.len() <= METHOD_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
        let spaced = name.contains(['/', '.', ':']);
        (printable && spaced).then(|| (Self { name: name.into(), known: None }, None))
    }

    /// True if it carries a message.
    pub fn sends(&self) -> bool {
        matches!(self.known, Some(Known::Send | Known::Stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<(&str, Option<Version>)>) {
        let method = Method::from_name(name);
        let found = method.as_ref().map(|(method, version)| (&*method.name, *version));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn both_versions_name_the_same_methods() {
        for (_, v1, v03) in TABLE {
            check(v1, Some((v1, Some(Version::V1))));
            check(v03, Some((v1, Some(Version::V03))));
        }
    }

    #[test]
    fn an_extension_has_a_namespace_and_what_has_none_is_unknown() {
        check("tasks/archive", Some(("tasks/archive", None)));
        check("com.example.Audit", Some(("com.example.Audit", None)));
        for unknown in
            ["", "Frobnicate", "sendMessage", "SENDMESSAGE", "Tasks/Get", "GetAgentCard", "a b/c", "a/\u{e4}"]
        {
            check(unknown, None);
        }
        let name = |length: usize| format!("x/{}", "y".repeat(length - 2));
        assert!(Method::from_name(&name(METHOD_MAX)).is_some());
        assert!(Method::from_name(&name(METHOD_MAX + 1)).is_none());
    }

    #[test]
    fn versions_have_two_numbers_and_perhaps_a_patch() {
        for good in ["1.0", "1.0.3"] {
            assert_eq!(Version::from_name(good), Some(Version::V1));
        }
        assert_eq!(Version::from_name("0.3.0"), Some(Version::V03));
        for bad in ["", "1", "1.1", "0.2", "1.0.", "1.0.x", "1.0.0.0", " 1.0", "2.0"] {
            assert_eq!(Version::from_name(bad), None, "{bad}");
        }
    }
}
