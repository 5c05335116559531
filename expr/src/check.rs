//! Checks a parsed condition: every variable, field and function is known, and evaluating it is bounded.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

/// Longest condition, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting. Evaluation recurses as deep.
pub(crate) const DEPTH_MAX: usize = 64;
/// Most nodes, after macros are expanded.
pub(crate) const NODES_MAX: usize = 1024;
/// Most additions: each can copy texts.
const ADDITIONS_MAX: usize = 16;
/// Most uses of `matches`: each compiles its pattern.
const MATCHES_MAX: usize = 4;
/// Longest pattern of `matches`, in bytes.
const PATTERN_BYTES_MAX: usize = 256;
/// Largest compiled pattern, in bytes.
const PATTERN_COMPILED_BYTES_MAX: usize = 64 * 1024;

/// Variables and their fields.
const VARIABLES: [(&str, &[&str]); 7] = [
    ("request", &["method", "path", "host", "headers"]),
    ("source", &["identity", "trust_domain", "namespace", "service_account", "ip"]),
    ("destination", &["port"]),
    ("mcp", &["method", "tool", "arguments", "prompt", "resource"]),
    ("a2a", &["method", "tenant", "skill"]),
    ("llm", &["operation", "provider", "model"]),
    ("user", &["issuer", "subject", "audiences", "scopes", "claims"]),
];

/// Operators and functions that take bounded time on bounded values.
const FUNCTIONS: [&str; 30] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "type",
    "dyn",
];

/// Names of types, as `type(x)` gives them.
const TYPES: [&str; 9] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"];

/// Why a text is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct CompileError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub cause: String,
}

impl CompileError {
    /// An error about the first place where `word` stands in `text`.
    pub(crate) fn at_word(text: &str, word: &str, cause: String) -> Self {
        let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let whole = |at: usize| {
            let before = text[..at].chars().next_back().is_none_or(|letter| !part_of_word(letter));
            let after = text[at + word.len()..].chars().next().is_none_or(|letter| !part_of_word(letter));
            before && after
        };
        let at = text.match_indices(word).map(|(at, _)| at).find(|at| whole(*at)).unwrap_or(0);
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Self { line, column, cause }
    }
}

/// What a condition reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) request: bool,
    pub(crate) mcp: bool,
    pub(crate) a2a: bool,
    pub(crate) llm: bool,
    pub(crate) user: bool,
    pub(crate) arguments: Option<ArgumentsRead>,
    /// True if it is made of comparisons and `&&` alone: if one has no value, the whole is never true.
    pub(crate) conjunction: bool,
}

/// Which members of a tool's arguments are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArgumentsRead {
    /// These, named in the text.
    Members(BTreeSet<String>),
    /// Any of them.
    All,
}

/// Checks a parsed condition and finds what it reads.
pub(crate) fn check(text: &str, expression: &IdedExpr) -> Result<Reads, CompileError> {
    let reads = Reads { conjunction: true, ..Reads::default() };
    let mut checker = Checker { text, reads, nodes: 0, additions: 0, matches: 0, bound: Vec::new() };
    checker.visit(expression, 0)?;
    Ok(checker.reads)
}

struct Checker<'a> {
    text: &'a str,
    reads: Reads,
    nodes: usize,
    additions: usize,
    matches: usize,
    /// The variables of the comprehension that is being visited.
    bound: Vec<&'a str>,
}

impl<'a> Checker<'a> {
    fn refuse(&self, word: &str, cause: impl Into<String>) -> CompileError {
        CompileError::at_word(self.text, word, cause.into())
    }

    fn visit(&mut self, expression: &'a IdedExpr, depth: usize) -> Result<(), CompileError> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(
                self.refuse("", format!("at most {DEPTH_MAX} levels and {NODES_MAX} parts are allowed"))
            );
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Unspecified => return Err(self.refuse("", "a part is empty")),
            Expr::Literal(_) => {}
            Expr::Ident(name) if self.bound.contains(&name.as_str()) || TYPES.contains(&name.as_str()) => {}
            Expr::Ident(name) => return Err(self.unknown(name)),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) if !self.bound.contains(&root.as_str()) => {
                    self.field(root, &select.field)?
                }
                Expr::Select(inner) if is_arguments(inner) => self.argument(&select.field),
                _ => self.visit(&select.operand, depth)?,
            },
            Expr::Call(call) => self.call(call, depth)?,
            Expr::List(list) => {
                for element in &list.elements {
                    self.visit(element, depth)?;
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(self.refuse("", "messages cannot be made here"));
                    };
                    self.visit(&entry.key, depth)?;
                    self.visit(&entry.value, depth)?;
                }
            }
            Expr::Struct(made) => return Err(self.refuse(&made.type_name, "messages cannot be made here")),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth)?,
        }
        Ok(())
    }

    fn comprehension(
        &mut self,
        comprehension: &'a ComprehensionExpr,
        depth: usize,
    ) -> Result<(), CompileError> {
        self.reads.conjunction = false;
        if !self.bound.is_empty() {
            return Err(self.refuse(&comprehension.iter_var, "one loop cannot stand inside another"));
        }
        self.visit(&comprehension.iter_range, depth)?;
        self.bound = vec![&comprehension.iter_var, &comprehension.accu_var];
        self.bound.extend(comprehension.iter_var2.as_deref());
        let parts = [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step];
        for part in parts.into_iter().chain([&comprehension.result]) {
            self.visit(part, depth)?;
        }
        self.bound.clear();
        Ok(())
    }

    fn call(&mut self, call: &'a CallExpr, depth: usize) -> Result<(), CompileError> {
        self.function(&call.func_name, &call.args)?;
        // An argument that is named in the text, by `arguments["name"]`.
        if let (operators::INDEX, [operand, key]) = (call.func_name.as_str(), call.args.as_slice())
            && let (Expr::Select(select), Expr::Literal(LiteralValue::String(name))) =
                (&operand.expr, &key.expr)
            && is_arguments(select)
        {
            self.argument(name.inner());
            return Ok(());
        }
        for part in call.target.iter().map(|target| &**target).chain(&call.args) {
            self.visit(part, depth)?;
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> CompileError {
        if let Some((_, fields)) = VARIABLES.iter().find(|(variable, _)| *variable == name) {
            return self.refuse(
                name,
                format!("{name} is used whole; name one of its fields: {}", fields.join(", ")),
            );
        }
        let known: Vec<_> = VARIABLES.iter().map(|(variable, _)| *variable).collect();
        self.refuse(name, format!("there is no variable {name}; there are {}", known.join(", ")))
    }

    fn field(&mut self, root: &str, field: &str) -> Result<(), CompileError> {
        let Some((_, fields)) = VARIABLES.iter().find(|(variable, _)| *variable == root) else {
            return Err(self.unknown(root));
        };
        if !fields.contains(&field) {
            return Err(
                self.refuse(field, format!("{root} has no field {field}; it has {}", fields.join(", ")))
            );
        }
        self.reads.request |= root == "request";
        self.reads.mcp |= root == "mcp";
        self.reads.a2a |= root == "a2a";
        self.reads.llm |= root == "llm";
        self.reads.user |= root == "user";
        if (root, field) == ("mcp", "arguments") {
            self.reads.arguments = Some(ArgumentsRead::All);
        }
        Ok(())
    }

    fn argument(&mut self, name: &str) {
        self.reads.mcp = true;
        match self.reads.arguments.get_or_insert_with(|| ArgumentsRead::Members(BTreeSet::new())) {
            ArgumentsRead::Members(members) => _ = members.insert(name.to_owned()),
            ArgumentsRead::All => {}
        }
    }

    fn function(&mut self, name: &str, arguments: &[IdedExpr]) -> Result<(), CompileError> {
        if !FUNCTIONS.contains(&name) {
            return Err(self.refuse(name, format!("there is no function {name}")));
        }
        if [operators::LOGICAL_OR, operators::LOGICAL_NOT, operators::CONDITIONAL].contains(&name) {
            self.reads.conjunction = false;
        }
        // The macros `map` and `filter` add to their result in each round; that is their own and bounded.
        let of_macro = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if name.starts_with('@'));
        if name == operators::ADD && !arguments.first().is_some_and(of_macro) {
            self.additions += 1;
            if self.additions > ADDITIONS_MAX || !self.bound.is_empty() {
                return Err(self.refuse(
                    "+",
                    format!("at most {ADDITIONS_MAX} additions, and none in a loop, are allowed"),
                ));
            }
        }
        if name == "matches" {
            self.matches += 1;
            if self.matches > MATCHES_MAX || !self.bound.is_empty() {
                return Err(self.refuse(
                    "matches",
                    format!("at most {MATCHES_MAX} uses, and none in a loop, are allowed"),
                ));
            }
            self.pattern(arguments)?;
        }
        Ok(())
    }

    fn pattern(&self, arguments: &[IdedExpr]) -> Result<(), CompileError> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) =
            arguments.last().map(|pattern| &pattern.expr)
        else {
            return Err(self.refuse("matches", "its pattern must be a text"));
        };
        let pattern = pattern.inner();
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(self.refuse("matches", format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
        }
        let built = regex::RegexBuilder::new(pattern).size_limit(PATTERN_COMPILED_BYTES_MAX).build();
        built.map(drop).map_err(|cause| self.refuse("matches", format!("its pattern is not usable: {cause}")))
    }
}

fn is_arguments(select: &SelectExpr) -> bool {
    select.field == "arguments" && matches!(&select.operand.expr, Expr::Ident(root) if root == "mcp")
}
