//! Cuts one file's text into documents and reads each by itself, so that a fault in one leaves the others.
//!
//! A line that begins with `---` or `...` ends a document wherever it stands (YAML 1.2.2, section 9.1), so the
//! cut needs no parser, and a document that does not parse cannot take its neighbours with it.

use std::sync::Arc;

use api::{Name, Object, Place, Reason, Rejection};

use crate::admit::{Compile, DEPTH_MAX, Node, Refused, admit, name_of, targets_of};

/// Most objects in one file.
pub(crate) const FILE_OBJECTS_MAX: usize = 20_000;
/// Most maps, lists and scalars in one document.
const NODES_MAX: usize = 250_000;
/// Most aliases in one document, and most anchors.
const ALIASES_MAX: usize = 1_000;
/// Most events that all aliases of a document may replay: this is what stops alias bombs.
const REPLAYED_MAX: usize = 100_000;

/// Most lines that are taken away to find a beginning that parses.
const BEGINNINGS_MAX: usize = 32;

/// An object that is written in a file, accepted or not.
#[derive(Debug, Clone)]
pub(crate) enum Written {
    /// It is as its kind says.
    Good {
        /// Where.
        place: Place,
        /// What.
        object: Arc<Object>,
    },
    /// It is not.
    Bad {
        /// Where.
        place: Place,
        /// What could be read of it; its name is in the rejection, if even that could be.
        refused: Box<Refused>,
    },
}

impl Written {
    /// Where it is written.
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Good { place, .. } | Self::Bad { place, .. } => place,
        }
    }

    /// What names it, if that could be read.
    pub(crate) fn name(&self) -> Option<Name> {
        match self {
            Self::Good { object, .. } => Some(object.name()),
            Self::Bad { refused, .. } => refused.rejection.object.clone(),
        }
    }

    /// Something of which nothing can be told but where it is and why.
    pub(crate) fn unnamed(place: Place, reason: Reason, message: String, remedy: &str) -> Self {
        let rejection = Rejection {
            place: place.clone(),
            object: None,
            field: String::new(),
            reason,
            message,
            remedy: remedy.to_owned(),
        };
        Self::Bad { place, refused: Box::new(Refused { rejection, targets: None }) }
    }
}

/// Reads every object of one file.
pub(crate) fn read(file: &str, text: &str, compile: Compile<'_>) -> Vec<Written> {
    let mut written = Vec::new();
    for (line, document) in cut(text) {
        match parse(document) {
            Ok(mut node) => {
                node.shift(line);
                judge(file, &node, compile, &mut written);
            }
            Err(error) => written.push(unparsed(file, line, document, &error, compile)),
        }
        if written.len() > FILE_OBJECTS_MAX {
            written.truncate(FILE_OBJECTS_MAX);
            let place = Place { file: file.to_owned(), line: line + 1 };
            let message = format!("has more than {FILE_OBJECTS_MAX} objects; from here on it is not read");
            written.push(Written::unnamed(place, Reason::TooLarge, message, "split the file"));
            break;
        }
    }
    written
}

/// The documents of a text, each with the number of lines before it. Those with nothing in them are left out.
fn cut(text: &str) -> Vec<(u64, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut begin, mut begin_line) = (0, 0);
    let mut at = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let line = line as u64;
        let marker = |mark: &str| {
            content
                .strip_prefix(mark)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if marker("---") {
            documents.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at, line);
        } else if marker("...") {
            documents.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at + content.len(), line + 1);
        }
        at += content.len();
    }
    documents.push((begin_line, &text[begin..]));
    documents.retain(|(_, document)| says_something(document));
    documents
}

/// False for comments, directives and a bare marker.
fn says_something(document: &str) -> bool {
    document.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    })
}

fn parse(document: &str) -> Result<Node, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_recorded_anchor_events: REPLAYED_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED_MAX,
        },
        reject_unsupported_tags: true,
    };
    serde_saphyr::from_str_with_options(document, options)
}

fn judge(file: &str, node: &Node, compile: Compile<'_>, written: &mut Vec<Written>) {
    // What `kubectl get -o yaml` writes of several objects. Lists do not hold lists.
    let is_list = node.get("kind").and_then(Node::text) == Some("List")
        && node.get("apiVersion").and_then(Node::text) == Some("v1");
    match node.get("items").and_then(Node::items) {
        Some(items) if is_list => {
            for item in items.iter().take(FILE_OBJECTS_MAX + 1) {
                written.push(judge_one(file, item, compile));
            }
        }
        _ => written.push(judge_one(file, node, compile)),
    }
}

fn judge_one(file: &str, node: &Node, compile: Compile<'_>) -> Written {
    let place = Place { file: file.to_owned(), line: node.line() };
    match admit(node, &place, compile) {
        Ok(object) => Written::Good { place, object: Arc::new(object) },
        Err(refused) => Written::Bad { place, refused },
    }
}

/// A document that does not parse. What stands before the fault is often enough to say which object it is.
fn unparsed(
    file: &str,
    before: u64,
    document: &str,
    error: &serde_saphyr::Error,
    compile: Compile<'_>,
) -> Written {
    let error = error.without_snippet();
    let fault_line = error.location().map_or(1, |location| location.line().max(1));
    let (message, remedy, reason) = explain(error);
    let begin = document.lines().position(says_something).unwrap_or(0) as u64;
    let place = Place { file: file.to_owned(), line: before + begin + 1 };
    let mut rejection = Rejection {
        place: Place { file: file.to_owned(), line: before + fault_line },
        object: None,
        field: String::new(),
        reason,
        message,
        remedy,
    };
    let mut targets = None;
    if let Some(node) = beginning(document, fault_line) {
        rejection.object = name_of(&node);
        if rejection.object.is_some() {
            // It is not accepted, however well its beginning reads; but its targets may be known already.
            targets = match admit(&node, &place, compile) {
                Err(refused) => refused.targets,
                Ok(object) => targets_of(&object, &node),
            };
        }
    }
    Written::Bad { place, refused: Box::new(Refused { rejection, targets }) }
}

/// As many of the lines before a fault as parse. The parser may have noticed it some lines further down.
fn beginning(document: &str, fault_line: u64) -> Option<Node> {
    let lines: Vec<&str> = document.split_inclusive('\n').collect();
    let most = usize::try_from(fault_line).unwrap_or(usize::MAX).saturating_sub(1).min(lines.len());
    (most.saturating_sub(BEGINNINGS_MAX)..=most).rev().filter(|count| *count > 0).find_map(|count| {
        let head = lines[..count].concat();
        parse(&head).ok().filter(Node::is_map)
    })
}

/// The parser's message without its place, which stands before it already.
fn explain(error: &serde_saphyr::Error) -> (String, String, Reason) {
    use serde_saphyr::Error;

    match error {
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            format!("is beyond what a document may hold ({})", first_line(error)),
            "write less into it, with fewer aliases and less nesting".to_owned(),
            Reason::TooLarge,
        ),
        Error::DuplicateMappingKey { key, .. } => {
            let key: String = key.as_deref().unwrap_or("a key").chars().take(64).collect();
            (format!("{key} is written twice"), "take one of them out".to_owned(), Reason::Conflict)
        }
        Error::AliasError { error, .. } => explain(error.without_snippet()),
        other => (
            format!("is not YAML: {}", first_line(other)),
            "look at this line and the one above: indentation, a missing colon, an open quote".to_owned(),
            Reason::Syntax,
        ),
    }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let end = [" at line ", ", line ", " (line "]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .unwrap_or(line.len());
    line[..end].chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_at_their_markers_alone() {
        let cases: &[(&str, &[(u64, &str)])] = &[
            ("", &[]),
            ("# only a comment\n---\n", &[]),
            ("a: 1", &[(0, "a: 1")]),
            ("a: 1\n---\nb: 2\n", &[(0, "a: 1\n"), (1, "---\nb: 2\n")]),
            ("%YAML 1.2\n---\na: 1\n...\n# end\n", &[(1, "---\na: 1\n")]),
            ("a: |\n  ---\n---x: 1\n", &[(0, "a: |\n  ---\n---x: 1\n")]),
            ("--- {a: 1}\r\n---\r\nb: 2\r\n", &[(0, "--- {a: 1}\r\n"), (1, "---\r\nb: 2\r\n")]),
            ("\u{feff}a: 1\n", &[(0, "a: 1\n")]),
        ];
        for (text, expected) in cases {
            assert_eq!(cut(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused_quickly() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let inner = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [inner.as_str(); 9].join(", ")));
        }
        let error = parse(&bomb).expect_err("a bomb");
        assert_eq!(explain(error.without_snippet()).2, Reason::TooLarge, "{error}");
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert!(parse(&nested(DEPTH_MAX + 1)).is_err());
        assert!(parse(&nested(1_000_000)).is_err());
    }
}
