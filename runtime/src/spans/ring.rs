//! The latest so many spans.

use std::{collections::VecDeque, sync::Arc};

use super::span::Span;

/// Keeps the latest; the oldest makes room.
pub(super) struct Ring {
    most: usize,
    spans: VecDeque<Arc<Span>>,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), spans: VecDeque::new() }
    }

    pub(super) fn push(&mut self, span: Arc<Span>) {
        if self.spans.len() >= self.most {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// Newest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = Arc<Span>> {
        self.spans.iter().rev().cloned()
    }
}
