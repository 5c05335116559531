//! A compiled condition and its evaluation.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, ExecutionError, Value, common::ast::IdedExpr, parser::PrattParser};
use mesh::{
    facts::{Demand, Expression, ExpressionError, Fact, Facts},
    snapshot::Compiler,
};

use crate::{
    check::{self, CompileError, EXPRESSION_BYTES_MAX, Reads},
    values::show,
};

/// How much of a cause is told.
const CAUSE_CHARS_MAX: usize = 200;

/// The standard functions, made once: an environment registers each of them.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The compiler of conditions that is given to `mesh::snapshot`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cel;

impl Compiler for Cel {
    fn compile(&self, text: &str) -> Result<Arc<dyn Expression>, String> {
        match compile(text) {
            Ok(program) => Ok(Arc::new(program)),
            Err(cause) => Err(cause.to_string()),
        }
    }
}

/// A compiled condition.
pub struct Program {
    text: Arc<str>,
    expression: IdedExpr,
    reads: Reads,
}

impl fmt::Debug for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Program").field(&self.text).finish()
    }
}

/// Compiles a condition.
///
/// # Errors
/// When it is too long, does not parse, names what does not exist, or could not be evaluated in bounded time.
pub fn compile(text: &str) -> Result<Program, CompileError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let cause =
            format!("a condition has at most {EXPRESSION_BYTES_MAX} bytes, this one has {}", text.len());
        return Err(CompileError { line: 1, column: 1, cause });
    }
    // Named, because the crate's other ways to compile use a parser whose memory a short hostile text can exhaust.
    let parser = PrattParser::new().max_recursion_depth(48).max_expression_node_count(check::NODES_MAX);
    let expression = parser.parse(text).map_err(|errors| {
        let place = |at: isize| usize::try_from(at).unwrap_or(0).max(1);
        match errors.errors.first() {
            Some(error) => CompileError {
                line: place(error.pos.0),
                column: place(error.pos.1),
                cause: error.msg.clone(),
            },
            None => CompileError { line: 1, column: 1, cause: "it does not parse".to_owned() },
        }
    })?;
    let reads = check::check(text, &expression)?;
    Ok(Program { text: text.into(), expression, reads })
}

impl Program {
    /// The text that it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if what has no value here has none because this exchange is of another protocol, and nothing else that
    /// is missing could have decided.
    fn is_of_another_protocol(&self, facts: &Facts, cause: &ExecutionError) -> bool {
        let ExecutionError::UndeclaredReference(name) = cause else {
            return false;
        };
        let protocols = [
            ("request", facts.http == Fact::NotApplicable, self.reads.request),
            ("mcp", facts.mcp == Fact::NotApplicable, self.reads.mcp),
            ("a2a", facts.a2a == Fact::NotApplicable, self.reads.a2a),
            ("llm", facts.llm == Fact::NotApplicable, self.reads.llm),
        ];
        let absent = protocols.iter().any(|(root, other, _)| *other && name.as_str() == *root);
        let nothing_else = protocols.iter().all(|(_, other, read)| *other || !read) && !self.reads.user;
        absent && (self.reads.conjunction || nothing_else)
    }
}

impl Expression for Program {
    fn evaluate(&self, facts: &Facts) -> Result<bool, ExpressionError> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        show(facts, &self.reads, &mut context).map_err(|cause| ExpressionError(cause.to_string()))?;
        match context.resolve(&self.expression) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => {
                Err(ExpressionError(format!("its value is a {}, not true or false", other.type_of())))
            }
            Err(cause) if self.is_of_another_protocol(facts, &cause) => Ok(false),
            Err(cause) => Err(ExpressionError(told(&cause))),
        }
    }

    fn demand(&self) -> Demand {
        Demand {
            http: self.reads.request,
            mcp: self.reads.mcp,
            a2a: self.reads.a2a,
            llm: self.reads.llm,
            user: self.reads.user,
        }
    }

    fn reads_arguments(&self) -> bool {
        self.reads.arguments.is_some()
    }
}

/// What is told of a cause: what kind it is, but no value that was judged.
fn told(cause: &ExecutionError) -> String {
    let text = match cause {
        ExecutionError::NoSuchKey(name) => format!("there is no {name} here"),
        ExecutionError::UndeclaredReference(name) => format!("there is no {name} here"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::IndexOutOfBounds(_) => "a list is shorter than that".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is too large".to_owned(),
        ExecutionError::ValuesNotComparable(..) => "two values cannot be compared".to_owned(),
        _ => "it cannot be evaluated on these values".to_owned(),
    };
    text.chars().take(CAUSE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
