//! The kubelet's API: logs, exec, attach, port-forward, health and pods, over TLS with certificates
//! of clients.
