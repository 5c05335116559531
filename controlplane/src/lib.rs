//! Watches, admits, publishes, writes status, links clusters.
