//! What content may pass: patterns, sizes, origins, and a guard that is asked.
