//! Conditions (`when`) in CEL: compiled when they arrive, bounded, evaluated against `mesh` facts.
//!
//! *Flow*: [`Cel`] is the compiler that is given to `mesh::snapshot`; `check` refuses what could not be evaluated in
//! bounded time or reads what does not exist; `values` shows the facts to the evaluation.
//!
//! *Guarantees*: a compiled condition reads only what it says it reads, and its evaluation is bounded by constants
//! here. It has the value true or false, or none: then the judge lets an Allow not match and a Deny match.
//!
//! | variable | fields |
//! |---|---|
//! | `request` | `method`, `path`, `host`, `headers` |
//! | `source` | `identity`, `trust_domain`, `namespace`, `service_account` (all only if proven), `ip` |
//! | `destination` | `port` |
//! | `mcp` | `method`; `tool` and `arguments` of a tool call; `prompt`; `resource` |

mod check;
mod program;
mod values;

pub use check::{CompileError, EXPRESSION_BYTES_MAX};
pub use program::{Cel, Program, compile};
