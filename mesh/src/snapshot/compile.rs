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
    resource::{
        A2aTerm, Action, Authorizer, HttpTerm, LlmTerm, McpTerm, Mode, Operation, Policy, PortRange, Rule,
        Source, TextMatch, ToolAccess, ToolTerm, UserTerm,
    },
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
    /// The tools, skills, models and providers that it names whole.
    pub names: Vec<Arc<str>>,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) broken: Option<Arc<str>>,
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) authorizer: Option<Arc<Authorizer>>,
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
    pub(crate) user: Option<UserTerm>,
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
    pub(crate) a2a: Option<CompiledA2a>,
    pub(crate) llm: Option<CompiledLlm>,
}

#[derive(Debug)]
pub(crate) struct CompiledA2a {
    pub(crate) methods: Option<Vec<Arc<str>>>,
    pub(crate) tenants: Option<Vec<Text>>,
    pub(crate) skills: Option<Vec<Text>>,
}

#[derive(Debug)]
pub(crate) struct CompiledLlm {
    pub(crate) providers: Option<Vec<Text>>,
    pub(crate) models: Option<Vec<Text>>,
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
    pub(crate) access: Option<ToolAccess>,
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
        let authorizer = policy.authorizer.clone().map(Arc::new);
        if (policy.action == Action::ExternalAuth) != authorizer.is_some() && policy.broken.is_none() {
            let cause = "an authorizer belongs to ExternalAuth, and only to it".to_owned();
            return Err(CompileError { rule: "".into(), cause });
        }
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
            names: policy.rules.iter().flat_map(names).collect(),
            action: policy.action,
            mode: policy.mode,
            broken: policy.broken.clone(),
            rules,
            authorizer,
            demand,
        })
    }
}

/// What a rule names whole, of what callers may ask for.
fn names(rule: &Rule) -> impl Iterator<Item = Arc<str>> {
    let operations = rule.to.iter().flatten();
    let texts = operations.flat_map(|to| {
        let tools = to.mcp.iter().flat_map(|mcp| mcp.tools.iter().flatten()).flat_map(|tool| &tool.names);
        let skills = to.a2a.iter().flat_map(|a2a| a2a.skills.iter().flatten());
        let of_llm =
            |llm: &'_ LlmTerm| llm.providers.iter().chain(&llm.models).flatten().cloned().collect::<Vec<_>>();
        tools.chain(skills).cloned().chain(to.llm.iter().flat_map(of_llm)).collect::<Vec<_>>()
    });
    texts.filter_map(|text| match text {
        TextMatch::Exact(name) => Some(name),
        TextMatch::Prefix(_) | TextMatch::Suffix(_) | TextMatch::Regex(_) => None,
    })
}

impl CompiledRule {
    fn demand(&self) -> Demand {
        let operations = self.to.iter().flatten().map(CompiledOperation::demand);
        let when = self.when.iter().map(|when| when.demand());
        let from = Demand { user: self.from.iter().any(|from| from.user.is_some()), ..Demand::default() };
        operations.chain(when).fold(from, Demand::and)
    }

    /// True if it reads nothing above layer 4, and has no condition.
    pub(crate) fn is_layer_4(&self) -> bool {
        self.when.is_none() && self.demand() == Demand::default()
    }
}

impl CompiledOperation {
    fn demand(&self) -> Demand {
        Demand {
            http: self.http.is_some(),
            mcp: self.mcp.is_some(),
            a2a: self.a2a.is_some(),
            llm: self.llm.is_some(),
            user: false,
        }
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
    CompiledSource {
        principals,
        ip_blocks: source.ip_blocks.clone(),
        user: source.user.clone(),
        anyone: source.anyone,
    }
}

fn compile_operation(operation: &Operation) -> Result<CompiledOperation, MatchError> {
    let ports = said("ports", &operation.ports)?.cloned();
    for range in ports.iter().flatten() {
        matching::ports(range)?;
    }
    let http = operation.http.as_ref().map(compile_http).transpose()?;
    let mcp = operation.mcp.as_ref().map(compile_mcp).transpose()?;
    let a2a = operation.a2a.as_ref().map(compile_a2a).transpose()?;
    let llm = operation.llm.as_ref().map(compile_llm).transpose()?;
    Ok(CompiledOperation { ports, http, mcp, a2a, llm })
}

fn compile_a2a(term: &A2aTerm) -> Result<CompiledA2a, MatchError> {
    Ok(CompiledA2a {
        methods: said("a2a.methods", &term.methods)?.cloned(),
        tenants: each("a2a.tenants", &term.tenants, Text::new)?,
        skills: each("a2a.skills", &term.skills, Text::new)?,
    })
}

fn compile_llm(term: &LlmTerm) -> Result<CompiledLlm, MatchError> {
    Ok(CompiledLlm {
        providers: each("llm.providers", &term.providers, Text::new)?,
        models: each("llm.models", &term.models, Text::new)?,
    })
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
    if term.names.is_empty() && term.access.is_none() {
        return Err(MatchError::Empty("mcp.tools.names"));
    }
    Ok(CompiledTool {
        names: term.names.iter().map(Text::new).collect::<Result<_, _>>()?,
        access: term.access,
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
