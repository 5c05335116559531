//! A request and its response in flight: facts, held bodies, filters, messages, responders.
