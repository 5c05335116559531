//! As whom a container runs. Pure.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::images::Image;

/// A user by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Other groups: the pod's `supplementalGroups` and `fsGroup`.
    pub groups: Vec<i64>,
}

/// The container must not run as root, and would.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("container has runAsNonRoot and image will run as root")]
pub struct WouldBeRoot;

/// The user of a container: its own word first, then the pod's, then the image's.
///
/// # Errors
/// When `runAsNonRoot` is set and it would be root.
pub fn of(spec: &PodSpec, container: &Container, image: &Image) -> Result<User, WouldBeRoot> {
    let own = container.security_context.as_ref();
    let pod = spec.security_context.as_ref();
    let (image_uid, image_gid) = image.user.split_once(':').unwrap_or((&image.user, ""));
    let uid = own.and_then(|own| own.run_as_user).or_else(|| pod.and_then(|pod| pod.run_as_user));
    let gid = own.and_then(|own| own.run_as_group).or_else(|| pod.and_then(|pod| pod.run_as_group));
    let user = User {
        uid: uid.unwrap_or_else(|| image_uid.parse().unwrap_or(0)),
        gid: gid.unwrap_or_else(|| image_gid.parse().unwrap_or(0)),
        groups: pod
            .iter()
            .flat_map(|pod| pod.supplemental_groups.iter().flatten().chain(pod.fs_group.iter()))
            .copied()
            .collect(),
    };
    let not_root =
        own.and_then(|own| own.run_as_non_root).or_else(|| pod.and_then(|pod| pod.run_as_non_root));
    if not_root == Some(true) && user.uid == 0 { Err(WouldBeRoot) } else { Ok(user) }
}
