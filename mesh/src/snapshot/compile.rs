//! Policies, compiled: patterns, expressions and lists in the form in which they are judged.
//!
//! What cannot be compiled is refused whole, so that no part of a policy is ever silently missing.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{
    facts::{Demand, Expression, ExpressionError, Facts},
    identity::IdentityPattern,
    matching::{self, Argument, Host, MatchError, Named, Path, Text},
    names::{ObjectName, Version},
    resource::{Action, HttpTerm, McpTerm, Mode, Operation, Policy, PortRange, Rule, Source, ToolTerm},
};

/// Compiles the conditions (`when`) of policies.
pub trait Compiler {
    /// Compiles one expression.
    ///
    /// # Errors
    /// When the text is no expression, or exceeds a bound.
    fn compile(&self, text: &str) -> Result<Arc<dyn Expression>, String>;
}

/// A compiler for programs that judge no conditions: an Allow with one does not match, a Deny with one does.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExpressions;

impl Compiler for NoExpressions {
    fn compile(&self, _: &str) -> Result<Arc<dyn Expression>, String> {
        Ok(Arc::new(Unenforceable))
    }
}

/// A condition that nobody evaluates here.
#[derive(Debug)]
struct Unenforceable;

impl Expression for Unenforceable {
    fn evaluate(&self, _: &Facts) -> Result<bool, ExpressionError> {
        Err(ExpressionError("conditions are not evaluated here".to_owned()))
    }

    fn demand(&self) -> Demand {
        Demand::default()
    }

    fn reads_arguments(&self) -> bool {
        false
    }
}

/// A policy, compiled.
#[derive(Debug)]
pub struct Compiled {
    /// The object.
    pub name: ObjectName,
    /// The version of the resource that it was made from.
    pub version: Version,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) broken: Option<Arc<str>>,
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) demand: Demand,
}

#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) name: Arc<str>,
    pub(crate) from: Vec<CompiledSource>,
    pub(crate) to: Option<Vec<CompiledOperation>>,
    pub(crate) when: Option<Arc<dyn Expression>>,
}

#[derive(Debug)]
pub(crate) struct CompiledSource {
    pub(crate) principals: Vec<CompiledPrincipals>,
    pub(crate) ip_blocks: Option<Vec<IpNet>>,
    pub(crate) anyone: bool,
}

#[derive(Debug)]
pub(crate) struct CompiledPrincipals {
    pub(crate) field: Arc<str>,
    pub(crate) any_of: Vec<IdentityPattern>,
}

#[derive(Debug)]
pub(crate) struct CompiledOperation {
    pub(crate) ports: Option<Vec<PortRange>>,
    pub(crate) http: Option<CompiledHttp>,
    pub(crate) mcp: Option<CompiledMcp>,
}

#[derive(Debug)]
pub(crate) struct CompiledHttp {
    pub(crate) methods: Option<Vec<Arc<str>>>,
    pub(crate) paths: Option<Vec<Path>>,
    pub(crate) hosts: Option<Vec<Host>>,
    pub(crate) headers: Option<Vec<Named>>,
}

#[derive(Debug)]
pub(crate) struct CompiledMcp {
    pub(crate) tools: Option<Vec<CompiledTool>>,
    pub(crate) prompts: Option<Vec<Text>>,
    pub(crate) resources: Option<Vec<Text>>,
    pub(crate) methods: Option<Vec<Arc<str>>>,
}

#[derive(Debug)]
pub(crate) struct CompiledTool {
    pub(crate) names: Vec<Text>,
    pub(crate) arguments: Vec<Argument>,
}

/// Why a policy cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {cause}")]
pub struct CompileError {
    /// The rule.
    pub rule: Arc<str>,
    /// What is wrong with it.
    pub cause: String,
}

impl Compiled {
    /// Compiles a policy.
    ///
    /// # Errors
    /// When a part of it cannot be compiled, or says nothing where something must be said.
    pub fn new(policy: &Policy, version: Version, compiler: &dyn Compiler) -> Result<Self, CompileError> {
        let rules = policy
            .rules
            .iter()
            .map(|rule| {
                compile_rule(rule, compiler).map_err(|cause| CompileError { rule: rule.name.clone(), cause })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let demand = rules.iter().map(CompiledRule::demand).fold(Demand::default(), Demand::and);
        Ok(Self {
            name: policy.name.clone(),
            version,
            action: policy.action,
            mode: policy.mode,
            broken: policy.broken.clone(),
            rules,
            demand,
        })
    }
}

impl CompiledRule {
    fn demand(&self) -> Demand {
        let operations = self.to.iter().flatten().map(CompiledOperation::demand);
        let when = self.when.iter().map(|when| when.demand());
        operations.chain(when).fold(Demand::default(), Demand::and)
    }

    /// True if it reads nothing above layer 4, in any of its operations, and has no condition.
    pub(crate) fn is_layer_4(&self) -> bool {
        self.when.is_none() && self.to.iter().flatten().all(|to| to.http.is_none() && to.mcp.is_none())
    }
}

impl CompiledOperation {
    fn demand(&self) -> Demand {
        Demand { http: self.http.is_some(), mcp: self.mcp.is_some() }
    }
}

fn compile_rule(rule: &Rule, compiler: &dyn Compiler) -> Result<CompiledRule, String> {
    let to = match &rule.to {
        Some(to) => {
            Some(to.iter().map(compile_operation).collect::<Result<_, _>>().map_err(|e| e.to_string())?)
        }
        None => None,
    };
    let when = match &rule.when {
        Some(text) => Some(compiler.compile(text).map_err(|cause| format!("when: {cause}"))?),
        None => None,
    };
    Ok(CompiledRule {
        name: rule.name.clone(),
        from: rule.from.iter().map(compile_source).collect(),
        to,
        when,
    })
}

fn compile_source(source: &Source) -> CompiledSource {
    let principals = source
        .principals
        .iter()
        .map(|it| CompiledPrincipals { field: it.field.clone(), any_of: it.any_of.clone() })
        .collect();
    CompiledSource { principals, ip_blocks: source.ip_blocks.clone(), anyone: source.anyone }
}

fn compile_operation(operation: &Operation) -> Result<CompiledOperation, MatchError> {
    let ports = said("ports", &operation.ports)?.cloned();
    for range in ports.iter().flatten() {
        matching::ports(range)?;
    }
    let http = operation.http.as_ref().map(compile_http).transpose()?;
    let mcp = operation.mcp.as_ref().map(compile_mcp).transpose()?;
    Ok(CompiledOperation { ports, http, mcp })
}

fn compile_http(term: &HttpTerm) -> Result<CompiledHttp, MatchError> {
    Ok(CompiledHttp {
        methods: said("http.methods", &term.methods)?.cloned(),
        paths: each("http.paths", &term.paths, Path::new)?,
        hosts: each("http.hosts", &term.hosts, Host::new)?,
        headers: each("http.headers", &term.headers, Named::new)?,
    })
}

fn compile_mcp(term: &McpTerm) -> Result<CompiledMcp, MatchError> {
    Ok(CompiledMcp {
        tools: each("mcp.tools", &term.tools, compile_tool)?,
        prompts: each("mcp.prompts", &term.prompts, Text::new)?,
        resources: each("mcp.resources", &term.resources, Text::new)?,
        methods: said("mcp.methods", &term.methods)?.cloned(),
    })
}

fn compile_tool(term: &ToolTerm) -> Result<CompiledTool, MatchError> {
    if term.names.is_empty() {
        return Err(MatchError::Empty("mcp.tools.names"));
    }
    Ok(CompiledTool {
        names: term.names.iter().map(Text::new).collect::<Result<_, _>>()?,
        arguments: term.arguments.iter().map(Argument::new).collect::<Result<_, _>>()?,
    })
}

/// A list that is there must say something: an empty one could be read as all or as nothing.
fn said<'a, T>(field: &'static str, list: &'a Option<Vec<T>>) -> Result<Option<&'a Vec<T>>, MatchError> {
    match list {
        Some(list) if list.is_empty() => Err(MatchError::Empty(field)),
        list => Ok(list.as_ref()),
    }
}

fn each<T, U>(
    field: &'static str,
    list: &Option<Vec<T>>,
    compile: impl Fn(&T) -> Result<U, MatchError>,
) -> Result<Option<Vec<U>>, MatchError> {
    said(field, list)?.map(|list| list.iter().map(compile).collect()).transpose()
}
