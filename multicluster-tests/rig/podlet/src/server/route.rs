//! What a request asks for. Pure.
//!
//! Paths and parameters are those of the kubelet's API as the API server writes them.

use std::borrow::Cow;

use hyper::{Method, Uri};
use jiff::{SignedDuration, Timestamp};

use crate::log::{Selection, Source};

/// A pod that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// If only this very pod is meant, not another of its name.
    pub(crate) uid: Option<String>,
}

/// A container that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerName {
    pub(crate) pod: PodName,
    pub(crate) container: String,
}

/// Which streams the client opens, beside the one for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Health,
    Pods,
    Metrics,
    Logs { container: ContainerName, previous: bool, selection: Selection },
    Exec { container: ContainerName, command: Vec<String>, streams: Streams },
    Attach { container: ContainerName, streams: Streams },
    Forward { pod: PodName },
}

/// Why a request is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("the kubelet's API has no {0}")]
    Unknown(String),
    #[error("{0} is not a method for this")]
    Method(Method),
    #[error("the parameter {name} cannot be {value:?}: it wants {wanted}")]
    Parameter { name: &'static str, value: String, wanted: &'static str },
    #[error("name the command to run, by parameters `command`")]
    NoCommand,
    #[error("ask for at least one of input, output and error")]
    NoStreams,
}

impl RouteError {
    /// The code to answer with.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Unknown(_) => 404,
            Self::Method(_) => 405,
            Self::Parameter { .. } | Self::NoCommand | Self::NoStreams => 400,
        }
    }
}

/// Reads a request's first line.
pub(crate) fn read(method: &Method, uri: &Uri) -> Result<Ask, RouteError> {
    let path = uri.path().trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let query = Query::read(uri.query().unwrap_or_default());
    let streaming = method == Method::GET || method == Method::POST;
    let ask = match parts[..] {
        ["healthz"] => Ask::Health,
        ["pods"] => Ask::Pods,
        ["metrics"] => Ask::Metrics,
        ["containerLogs", namespace, pod, container] => Ask::Logs {
            container: ContainerName::new(namespace, pod, None, container),
            previous: query.flag("previous")?,
            selection: query.selection(Timestamp::now())?,
        },
        ["exec", ref rest @ ..] => Ask::Exec {
            container: ContainerName::read(rest, path)?,
            command: query.all("command"),
            streams: query.streams()?,
        },
        ["attach", ref rest @ ..] => {
            Ask::Attach { container: ContainerName::read(rest, path)?, streams: query.streams()? }
        }
        ["portForward", namespace, pod] => Ask::Forward { pod: PodName::new(namespace, pod, None) },
        ["portForward", namespace, pod, uid] => Ask::Forward { pod: PodName::new(namespace, pod, Some(uid)) },
        _ => return Err(RouteError::Unknown(format!("/{path}"))),
    };
    let upgraded = matches!(ask, Ask::Exec { .. } | Ask::Attach { .. } | Ask::Forward { .. });
    if !(method == Method::GET || upgraded && streaming) {
        return Err(RouteError::Method(method.clone()));
    }
    match &ask {
        Ask::Exec { command, .. } if command.is_empty() => Err(RouteError::NoCommand),
        _ => Ok(ask),
    }
}

impl PodName {
    fn new(namespace: &str, pod: &str, uid: Option<&str>) -> Self {
        Self { namespace: namespace.to_owned(), pod: pod.to_owned(), uid: uid.map(str::to_owned) }
    }
}

impl ContainerName {
    fn new(namespace: &str, pod: &str, uid: Option<&str>, container: &str) -> Self {
        Self { pod: PodName::new(namespace, pod, uid), container: container.to_owned() }
    }

    fn read(parts: &[&str], path: &str) -> Result<Self, RouteError> {
        match *parts {
            [namespace, pod, container] => Ok(Self::new(namespace, pod, None, container)),
            [namespace, pod, uid, container] => Ok(Self::new(namespace, pod, Some(uid), container)),
            _ => Err(RouteError::Unknown(format!("/{path}"))),
        }
    }
}

struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.to_string()).collect()
    }

    /// The first value of a name; an empty one counts as none.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_ref()).filter(|value| !value.is_empty())
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, RouteError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(RouteError::Parameter { name, value: value.to_owned(), wanted }),
        }
    }

    fn flag(&self, name: &'static str) -> Result<bool, RouteError> {
        let flag = self.parsed(name, "true or false", |value| match value {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    fn streams(&self) -> Result<Streams, RouteError> {
        let tty = self.flag("tty")?;
        let streams = Streams {
            stdin: self.flag("input")?,
            stdout: self.flag("output")?,
            // A terminal has one output.
            stderr: self.flag("error")? && !tty,
            tty,
        };
        if streams.stdin || streams.stdout || streams.stderr {
            Ok(streams)
        } else {
            Err(RouteError::NoStreams)
        }
    }

    fn selection(&self, now: Timestamp) -> Result<Selection, RouteError> {
        let number = |value: &str| value.parse::<u64>().ok();
        let wants_number = "a number, 0 or more";
        let since_time = self.parsed("sinceTime", "a time as in RFC 3339", |value| value.parse().ok())?;
        let since_seconds = self.parsed("sinceSeconds", wants_number, |value| {
            let ago = SignedDuration::from_secs(value.parse::<u32>().ok()?.into());
            now.checked_sub(ago).ok()
        })?;
        Ok(Selection {
            since: since_time.or(since_seconds),
            tail: self.parsed("tailLines", wants_number, number)?,
            bytes_max: self.parsed("limitBytes", wants_number, number)?,
            timestamps: self.flag("timestamps")?,
            source: self
                .parsed("stream", "All, Stdout or Stderr", |value| match value {
                    "All" => Some(None),
                    "Stdout" => Some(Some(Source::Stdout)),
                    "Stderr" => Some(Some(Source::Stderr)),
                    _ => None,
                })?
                .flatten(),
            follow: self.flag("follow")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str) -> Result<Ask, RouteError> {
        read(&Method::GET, &path.parse().unwrap())
    }

    #[test]
    fn an_exec_is_read_as_the_api_server_writes_it() {
        let expected = Ask::Exec {
            container: ContainerName::new("default", "web", None, "echo"),
            command: vec!["sh".to_owned(), "-c".to_owned(), "echo a+b & c".to_owned()],
            streams: Streams { stdin: false, stdout: true, stderr: true, tty: false },
        };
        let path = "/exec/default/web/echo?command=sh&command=-c&command=echo+a%2Bb+%26+c&error=1&output=1";
        assert_eq!(ask(path), Ok(expected));
    }

    #[test]
    fn a_uid_may_stand_before_the_container() {
        let Ok(Ask::Attach { container, streams }) =
            ask("/attach/a/b/uid-1/c?tty=1&input=1&output=1&error=1")
        else {
            panic!("not an attach")
        };
        assert_eq!(container, ContainerName::new("a", "b", Some("uid-1"), "c"));
        assert!(streams.tty && !streams.stderr, "a terminal has one output");
    }

    #[test]
    fn logs_are_selected_as_asked() {
        let path = "/containerLogs/a/b/c?follow=true&tailLines=5&limitBytes=100&timestamps=true\
                    &sinceTime=2026-11-24T21:00:00Z&stream=Stderr&previous=true";
        let Ok(Ask::Logs { previous, selection, .. }) = ask(path) else { panic!("not logs") };
        assert!(previous);
        let expected = Selection {
            since: Some("2026-11-24T21:00:00Z".parse().unwrap()),
            tail: Some(5),
            bytes_max: Some(100),
            timestamps: true,
            source: Some(Source::Stderr),
            follow: true,
        };
        assert_eq!(selection, expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_a_code() {
        #[track_caller]
        fn check(path: &str, code: u16, says: &str) {
            let error = ask(path).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(says), "{error}");
        }
        check("/exec/a/b/c?output=1", 400, "command");
        check("/exec/a/b/c?command=ls", 400, "input, output");
        check("/exec/a/b?command=ls&output=1", 404, "/exec/a/b");
        check("/containerLogs/a/b/c?tailLines=-1", 400, "tailLines");
        check("/run/a/b/c", 404, "/run/a/b/c");
        let post = read(&Method::POST, &"/pods".parse().unwrap()).unwrap_err();
        assert_eq!(post.code(), 405);
    }
}
