//! ToolCatalogs: which tools were approved, as proxies know them.

use std::sync::Arc;

use api::{
    Name, Object as AnyObject, Resource as Object,
    access::ToolAccess as SaidAccess,
    catalog::{CatalogTool, ToolCatalogSpec, Unlisted as SaidUnlisted},
};
use mesh::resource::{ApprovedTool, Catalogue, Resource, ToolAccess, Unlisted};

use crate::{
    backing,
    made::Made,
    names,
    reader::Reader,
    status::{ConditionKind, Conditions, Fault, Status},
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<ToolCatalogSpec>) -> Made {
    let mut made = Made::default();
    made.add(Resource::Catalogue(Arc::new(Catalogue {
        name: names::object(name),
        tools: object.spec.tools.iter().map(|said| (said.name.as_str().into(), tool(said))).collect(),
        unlisted: match object.spec.unlisted {
            SaidUnlisted::Hold => Unlisted::Hold,
            SaidUnlisted::Pass => Unlisted::Pass,
        },
    })));
    let conditions = Conditions::of(object.metadata.generation);
    let unused = unused(reader, name);
    made.status = Some((
        name.clone(),
        Status {
            conditions: vec![
                conditions.holds(ConditionKind::Accepted, "the catalogue is valid"),
                conditions.judge(
                    ConditionKind::Programmed,
                    unused.as_ref(),
                    "sent to the Gateways of the backends that name it",
                ),
            ],
            ..Status::default()
        },
    ));
    made
}

fn tool(said: &CatalogTool) -> ApprovedTool {
    ApprovedTool { pin: said.pin.as_ref().map(|pin| pin.as_str().into()), access: said.access.map(access) }
}

/// What a tool can do, in the words of `mesh`.
pub(super) fn access(said: SaidAccess) -> ToolAccess {
    match said {
        SaidAccess::Read => ToolAccess::Read,
        SaidAccess::Write => ToolAccess::Write,
    }
}

fn unused(reader: &Reader<'_>, name: &Name) -> Option<Fault> {
    let mut backends = Vec::new();
    for (backend, object) in reader.leading_to(name) {
        if let AnyObject::AgentBackend(object) = object {
            backends.push((backend, object));
        }
    }
    if backends.is_empty() {
        let message = format!("no AgentBackend names it: say spec.catalogRef.name: {} there", name.name);
        return Some(Fault::new("NotReferenced", message));
    }
    let gateways = backends.iter().filter_map(|(of, it)| backing::gateway(reader, of, &it.spec).ok());
    let silent: Vec<String> = gateways
        .filter(|gateway| !reader.serving(&gateway.name))
        .map(|gateway| format!("no proxy of {} is connected", gateway.name))
        .collect();
    (!silent.is_empty()).then(|| Fault::new("GatewayNotServing", silent.join("; ")))
}
