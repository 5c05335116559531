//! One fault of one object: where, why, and what to do. Parser and checks both speak it.

use std::fmt;

use api::{Name, Place, Reason, Rejection};

/// A step from an object to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// Why an object, or a part of it, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From the innermost outwards, so that each level adds its own as the fault passes it.
    segments: Vec<Segment>,
    line: Option<u64>,
    reason: Reason,
    message: String,
    remedy: String,
}

impl Fault {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { segments: Vec::new(), line: None, reason, message: message.into(), remedy: String::new() }
    }

    /// A value that is not one of those that are allowed.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::Invalid, message)
    }

    /// Fields that contradict one another.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(Reason::Conflict, message)
    }

    /// Something that has this shape and that nothing here can do yet.
    pub(super) fn not_built_yet(what: &str) -> Self {
        Self::new(Reason::NotBuiltYet, format!("{what} is not built yet"))
    }

    /// What to do about it.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// One level further out: the fault is in this field.
    pub(super) fn within(mut self, field: &str) -> Self {
        self.segments.push(Segment::Key(field.to_owned()));
        self
    }

    /// One level further out: the fault is in this item.
    pub(super) fn item(mut self, index: usize) -> Self {
        self.segments.push(Segment::Index(index));
        self
    }

    /// Where it stands, unless something further inside said it already.
    pub(super) fn on_line(mut self, line: u64) -> Self {
        self.line.get_or_insert(line);
        self
    }

    /// The same place, for the reason that nothing here can do it yet.
    pub(super) fn becomes_not_built_yet(mut self) -> Self {
        let field = self.field();
        self.reason = Reason::NotBuiltYet;
        self.message = format!("{} is not built yet", field.rsplit('.').next().unwrap_or(&field));
        self.remedy = "take it out".to_owned();
        self
    }

    /// The same place, without what stands there: it may be a secret.
    pub(super) fn without_values(mut self) -> Self {
        if self.reason == Reason::Invalid {
            self.message = "is not of the right form".to_owned();
        }
        self
    }

    /// From the outermost inwards.
    pub(super) fn path(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().rev()
    }

    /// The field, as people write it: `spec.rules[0].from[0].namespaces`.
    pub(crate) fn field(&self) -> String {
        let mut text = String::new();
        for segment in self.path() {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                // Keys of labels have dots and slashes, which would read as steps.
                Segment::Key(key) if key.contains(['.', '/', '[']) => text.push_str(&format!("[{key}]")),
                Segment::Key(key) if text.is_empty() => text.push_str(key),
                Segment::Key(key) => text.push_str(&format!(".{key}")),
            }
        }
        text
    }

    /// As others see it.
    pub(crate) fn rejection(self, place: Place, object: Option<Name>) -> Rejection {
        let field = self.field();
        let place = Place { line: self.line.unwrap_or(place.line), ..place };
        Rejection { place, object, field, reason: self.reason, message: self.message, remedy: self.remedy }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field(), self.message)
    }
}

impl std::error::Error for Fault {}

/// Says where a fault is, as it passes outwards.
pub(super) trait Within {
    /// The fault is in this field.
    fn within(self, field: &str) -> Self;
}

impl<T> Within for Result<T, Fault> {
    fn within(self, field: &str) -> Self {
        self.map_err(|fault| fault.within(field))
    }
}

/// Checks every item of a list that stands in this field.
pub(super) fn each<'a, T: 'a>(
    field: &str,
    items: impl IntoIterator<Item = &'a T>,
    check: impl Fn(&'a T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for (index, item) in items.into_iter().enumerate() {
        check(item).map_err(|fault| fault.item(index).within(field))?;
    }
    Ok(())
}

/// Checks a field that may be left out.
pub(super) fn some<'a, T: ?Sized>(
    field: &str,
    value: Option<&'a T>,
    check: impl Fn(&'a T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    value.map_or(Ok(()), |value| check(value).within(field))
}

/// Refuses a field that nothing here can do yet.
pub(super) fn not_yet<T>(field: &str, value: Option<&T>, remedy: &str) -> Result<(), Fault> {
    match value {
        None => Ok(()),
        Some(_) => Err(Fault::not_built_yet(field).remedy(remedy).within(field)),
    }
}

/// Refuses two items of a list that have the same key.
pub(super) fn unique<'a, T: 'a, K: PartialEq + fmt::Display>(
    field: &str,
    items: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&'a T) -> Option<K>,
    named: &str,
) -> Result<(), Fault> {
    let mut seen: Vec<K> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Some(key) = key(item) else { continue };
        if let Some(first) = seen.iter().position(|other| *other == key) {
            return Err(Fault::conflict(format!(
                "{named} {key} stands there twice, first at {field}[{first}]"
            ))
            .remedy("give each its own, or make them one")
            .item(index)
            .within(field));
        }
        seen.push(key);
    }
    Ok(())
}
