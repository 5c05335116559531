//! The Model Context Protocol: parses facts, filters messages, responds.
