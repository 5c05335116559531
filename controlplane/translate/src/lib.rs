//! World to resources and statuses; pure.
