//! `/containerLogs`: finds the log that is meant and sends what is wanted of it.

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;

use super::answer::{self, Body};
use super::route::ContainerName;
use crate::containers::Running;
use crate::log::{Ended, Reader, Selection};
use crate::pidfd;
use crate::registry::Pods;

/// Answers with a log.
pub(crate) fn respond(
    pods: &Pods,
    name: &ContainerName,
    previous: bool,
    selection: Selection,
) -> Response<Body> {
    let ContainerName { pod, container } = name;
    let Some(entry) = pods.get(&pod.namespace, &pod.pod) else {
        return answer::text(404, format!("pod {}/{} is not on this node\n", pod.namespace, pod.pod));
    };
    let Some(state) = entry.container(container) else {
        return answer::text(404, format!("container {container:?} is not one of pod {:?}\n", pod.pod));
    };
    let Some(attempt) = state.logged(previous) else {
        return answer::text(400, absent(name, previous, state.waiting.as_deref()));
    };
    let path = entry.logs.join(container).join(format!("{attempt}.log"));
    // Only the life that runs can be followed; of others all is written.
    let running = state.running.filter(|running| running.attempt == attempt);
    let selection = Selection { follow: selection.follow && running.is_some(), ..selection };
    match Reader::open(&path, selection, end_of(running)) {
        Ok(reader) => Response::new(body(reader)),
        Err(error) => answer::text(404, format!("{error}\n")),
    }
}

fn absent(name: &ContainerName, previous: bool, waiting: Option<&str>) -> String {
    let ContainerName { pod, container } = name;
    match waiting {
        _ if previous => {
            format!("previous terminated container {container:?} in pod {:?} not found\n", pod.pod)
        }
        Some(reason) => {
            format!("container {container:?} in pod {:?} is waiting to start: {reason}\n", pod.pod)
        }
        None => format!("container {container:?} in pod {:?} has not started yet\n", pod.pod),
    }
}

fn end_of(running: Option<Running>) -> Ended {
    Box::pin(async move {
        if let Some(running) = running
            && let Err(error) = pidfd::ended(running.pid).await
        {
            tracing::warn!(%error, container = %running.id, "cannot wait for the end of a container");
        }
    })
}

fn body(reader: Reader) -> Body {
    let lines = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(lines)) => Some((Ok(Frame::data(lines.into())), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    StreamBody::new(lines).boxed_unsync()
}
