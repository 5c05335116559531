//! One file for each HTTP filter, and the order in which a request meets them.
