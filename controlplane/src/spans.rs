//! The latest spans, as the proxies told them, by trace; a trace is shown with the connections that carried it.
//!
//! Pure. *Bounds*: [`SPANS_MAX`] spans, the oldest go first and are counted. A span belongs to the proxy that told
//! it first: nobody else can replace it.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use runtime::{
    Span,
    spans::Link,
    trace::{SpanId, TraceId},
};
use serde::Serialize;

use crate::named::names;

/// Spans that are kept.
pub(crate) const SPANS_MAX: usize = 20_000;
/// Spans that one question gets at most.
pub(crate) const ROWS_MAX: usize = 1000;

/// The spans that are kept.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    spans: HashMap<Link, Held>,
    order: VecDeque<Link>,
    traces: HashMap<TraceId, Vec<SpanId>>,
    /// Which spans link to one.
    linking: HashMap<Link, Vec<Link>>,
    dropped: u64,
}

#[derive(Debug)]
struct Held {
    proxy: Arc<str>,
    span: Arc<Span>,
}

/// Which spans somebody wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// By this caller.
    pub(crate) from: Option<String>,
    /// To this destination.
    pub(crate) to: Option<String>,
    /// Of this tool.
    pub(crate) tool: Option<String>,
}

/// A span, for programs and people.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    span: Arc<Span>,
    /// Who told it, as it proved itself.
    told_by: Arc<str>,
    /// When it began, in RFC 3339.
    at: String,
    duration_ms: Option<f64>,
    /// It is of another trace, and carried this one or was carried by it.
    linked: bool,
}

impl Spans {
    /// Takes a span that a proxy told.
    pub(crate) fn take(&mut self, proxy: &Arc<str>, span: Arc<Span>) {
        let name = Link { trace: span.trace, span: span.id };
        if let Some(held) = self.spans.get_mut(&name) {
            // The end of one that was open.
            if held.proxy == *proxy && held.span.duration.is_none() {
                let before = std::mem::replace(&mut held.span, Arc::clone(&span));
                self.unlink(name, &before);
                self.link(name, &span);
            } else {
                self.dropped = self.dropped.saturating_add(1);
            }
            return;
        }
        if self.order.len() >= SPANS_MAX {
            self.forget_oldest();
        }
        self.order.push_back(name);
        self.traces.entry(name.trace).or_default().push(name.span);
        self.link(name, &span);
        self.spans.insert(name, Held { proxy: Arc::clone(proxy), span });
    }

    /// How many are kept, and how many were dropped to make room.
    pub(crate) fn standing(&self) -> (usize, u64) {
        (self.spans.len(), self.dropped)
    }

    /// A trace, in order of time: its spans; those that they link to, with what belongs to these; those that link to
    /// them.
    pub(crate) fn of(&self, trace: TraceId) -> Vec<Row> {
        let own: Vec<Link> = self.in_trace(trace).take(ROWS_MAX).collect();
        let mut linked = BTreeSet::new();
        for name in &own {
            let to = self.spans.get(name).map(|held| held.span.links.clone()).unwrap_or_default();
            let carriers = to.iter().filter(|link| link.trace != trace);
            // A carrier has a trace of its own: that of its connection, hop by hop.
            linked.extend(carriers.flat_map(|link| self.in_trace(link.trace)).map(key));
            let from = self.linking.get(name).into_iter().flatten();
            linked.extend(from.filter(|link| link.trace != trace).copied().map(key));
            if linked.len() >= ROWS_MAX {
                break;
            }
        }
        let others = linked.into_iter().map(|(trace, span)| (Link { trace, span }, true));
        let all = own.into_iter().map(|name| (name, false)).chain(others);
        let mut rows: Vec<Row> = all.filter_map(|(name, linked)| self.row(name, linked)).collect();
        rows.truncate(ROWS_MAX);
        rows.sort_by_key(|row| (row.span.start, row.span.id));
        rows
    }

    /// The latest that are wanted, newest first.
    pub(crate) fn latest(&self, wanted: &Wanted, most: usize) -> Vec<Row> {
        let fits = |span: &Span, key: &str, name: &Option<String>| {
            name.as_ref().is_none_or(|name| span.attributes.text(key).is_some_and(|text| names(text, name)))
        };
        let mut rows = Vec::new();
        for name in self.order.iter().rev() {
            let Some(held) = self.spans.get(name) else { continue };
            let span = &held.span;
            if fits(span, "strait.source", &wanted.from)
                && fits(span, "strait.destination", &wanted.to)
                && fits(span, "gen_ai.tool.name", &wanted.tool)
                && let Some(row) = self.row(*name, false)
            {
                rows.push(row);
                if rows.len() >= most.min(ROWS_MAX) {
                    break;
                }
            }
        }
        rows
    }

    fn in_trace(&self, trace: TraceId) -> impl Iterator<Item = Link> {
        self.traces.get(&trace).into_iter().flatten().map(move |span| Link { trace, span: *span })
    }

    fn row(&self, name: Link, linked: bool) -> Option<Row> {
        let held = self.spans.get(&name)?;
        let at =
            i64::try_from(held.span.start).ok().and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
        Some(Row {
            span: Arc::clone(&held.span),
            told_by: Arc::clone(&held.proxy),
            at: at.map_or_else(String::new, |at| at.to_string()),
            duration_ms: held.span.duration.map(|micros| micros as f64 / 1000.0),
            linked,
        })
    }

    fn link(&mut self, name: Link, span: &Span) {
        for link in &span.links {
            self.linking.entry(*link).or_default().push(name);
        }
    }

    fn unlink(&mut self, name: Link, span: &Span) {
        for link in &span.links {
            if let Some(from) = self.linking.get_mut(link) {
                from.retain(|it| *it != name);
                if from.is_empty() {
                    self.linking.remove(link);
                }
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some(name) = self.order.pop_front() else { return };
        if let Some(held) = self.spans.remove(&name) {
            self.unlink(name, &held.span);
            self.dropped = self.dropped.saturating_add(1);
        }
        if let Some(spans) = self.traces.get_mut(&name.trace) {
            spans.retain(|span| *span != name.span);
            if spans.is_empty() {
                self.traces.remove(&name.trace);
            }
        }
    }
}

/// An order that only keeps each once.
fn key(link: Link) -> (TraceId, SpanId) {
    (link.trace, link.span)
}

#[cfg(test)]
mod tests;
