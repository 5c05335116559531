//! Fetches a workload's certificate, keeps it fresh, hands out credentials.
