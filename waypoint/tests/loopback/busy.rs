//! Many at once.

use std::sync::Arc;

use mesh::resource::*;

use crate::support::*;

#[tokio::test]
async fn many_callers_under_changes_that_do_not_concern_them_lose_nothing() {
    let mesh = Arc::new(Mesh::new().await);
    let callers = (0..16).map(|number| {
        let mesh = Arc::clone(&mesh);
        tokio::spawn(async move {
            let caller = format!("lab/agent-{number}");
            let mut client = match number % 2 {
                0 => mesh.http1(&caller, WEB_VIP).await,
                _ => mesh.http2(&caller, WEB_VIP).await,
            };
            for round in 0..40 {
                let answer = client.get(&format!("/{number}/{round}")).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(answer.body.contains(&format!("URI=spiffe://east/ns/lab/sa/agent-{number}\n")));
                assert!(answer.body.contains(&format!(" GET /{number}/{round}\n")));
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    while callers.iter().any(|caller| !caller.is_finished()) {
        let flapping = policy("other", Action::Deny, "lab/nobody", None);
        mesh.apply(vec![
            Resource::Policy(flapping.into()),
            Resource::PolicySet(set("other", &["other"], DefaultAccess::Open).into()),
        ]);
        tokio::task::yield_now().await;
    }
    for caller in callers {
        caller.await.expect("no caller lost anything");
    }
    // What each node saw of a caller it saw on connections of that caller alone.
    for node in &mesh.nodes {
        assert!(node.seen.lock().iter().all(|seen| seen.caller.by == Some(identity("shop/waypoint"))));
    }
}
