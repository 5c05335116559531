//! What our programs tell each other: delta publish and subscribe, checkpoints, stores, reports.
