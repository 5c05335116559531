//! The L7 proxy: waypoint, ingress, egress and east-west gateway.
