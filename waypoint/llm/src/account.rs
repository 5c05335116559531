//! What one attempt holds of its caller's allowances, and how it is settled.
//!
//! The rule. What never reached a provider, or was answered with 4xx, is given back: nobody bills it. What was answered
//! with 5xx costs its estimated prompt. An answer that says what it used costs that, also where it is more than was
//! reserved; one that does not, or says what cannot be (nothing in, or nothing out where something came), costs all
//! that was reserved, and so does one that was cut, timed out or could not be read, and a stream that its caller left
//! before it said what it used.

use exchange::{ModelUse, Reservation, Trail, Used};

use crate::neutral::Usage;

pub(crate) struct Account {
    reservation: Option<Box<dyn Reservation>>,
    trail: Trail,
    model: Option<ModelUse>,
}

impl Account {
    /// An attempt that may use this.
    pub(crate) fn new(reservation: Option<Box<dyn Reservation>>, trail: &Trail, model: ModelUse) -> Self {
        Self { reservation, trail: trail.clone(), model: Some(model) }
    }

    /// It never reached a provider, or was answered with an error that nobody bills.
    pub(crate) fn release(mut self) {
        self.model = None;
        self.give(0);
    }

    /// The provider failed at it: it costs the prompt.
    pub(crate) fn failed(mut self) {
        let prompt = self.model.take().map_or(0, |model| model.tokens_in);
        self.give(prompt);
    }

    /// It was answered. `output`: something of an answer came.
    pub(crate) fn answered(&mut self, usage: Option<Usage>, output: bool) {
        let believed = usage.filter(|usage| usage.input > 0 && (usage.output > 0 || !output));
        let Some(usage) = believed else { return self.close() };
        if let Some(mut model) = self.model.take() {
            model.tokens_in = usage.input;
            model.tokens_out = usage.output;
            model.tokens_cached = usage.cached;
            model.told = true;
            self.trail.used_model(model);
        }
        self.give(usage.total());
    }

    /// The first of a streamed answer came after this time.
    pub(crate) fn first_token(&mut self, after: std::time::Duration) {
        if let Some(model) = &mut self.model {
            model.first_token = Some(after);
        }
    }

    fn give(&mut self, tokens: u64) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(Used { tokens });
        }
    }

    fn close(&mut self) {
        // Dropped unsettled, it counts whole.
        self.reservation = None;
        if let Some(model) = self.model.take() {
            self.trail.used_model(model);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}
