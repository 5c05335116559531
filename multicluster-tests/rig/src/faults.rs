//! What can be done to a rig that is up: its WAN bent, its programs and nodes ended and started again.

use std::process::Command;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use rig_network::wan::{Control, Shape};

use crate::{Rig, process::enter_on_start};

impl Rig {
    /// Sets how packets fare from one cluster to another, in this direction alone.
    ///
    /// # Errors
    /// When the emulator does not answer, or there is no such cluster.
    pub fn wan(&self, from: u8, to: u8, shape: &Shape) -> anyhow::Result<()> {
        for cluster in [from, to] {
            if self.plan().cluster(cluster).is_none() {
                bail!("the rig has no cluster c{cluster}; it has c1 to c{}", self.plan().cluster_count());
            }
        }
        Control::at(&self.plan().wan_socket())
            .set(from, to, shape)
            .context("the WAN's emulator does not obey")
    }

    /// Sets the same shape in both directions.
    ///
    /// # Errors
    /// As [`Self::wan`].
    pub fn wan_both(&self, one: u8, other: u8, shape: &Shape) -> anyhow::Result<()> {
        self.wan(one, other, shape)?;
        self.wan(other, one, shape)
    }

    /// Ends programs at once: one by its name, as `c1-apiserver`, or all of a node, as `c1-n1`, with its pods.
    ///
    /// # Errors
    /// When there is no such program or node.
    pub fn kill(&self, name: &str) -> anyhow::Result<()> {
        let processes = self.processes();
        let Some(node) =
            self.plan().clusters().flat_map(|cluster| cluster.nodes()).find(|node| node.name() == name)
        else {
            return processes.kill(&[processes.get(name)?]);
        };
        let prefix = format!("{name}-");
        let own: Vec<_> =
            processes.list().into_iter().filter(|one| one.launch.name.starts_with(&prefix)).collect();
        processes.kill(&own)?;
        crate::sweep::empty_node(&node)
    }

    /// Starts what was ended by [`Self::kill`].
    ///
    /// # Errors
    /// When it still runs or cannot start.
    pub fn restart(&self, name: &str) -> anyhow::Result<()> {
        let processes = self.processes();
        let prefix = format!("{name}-");
        let of_node: Vec<_> =
            processes.list().into_iter().filter(|one| one.launch.name.starts_with(&prefix)).collect();
        if of_node.is_empty() || !name.contains("-n") {
            processes.restart(name)?;
            return Ok(());
        }
        for process in of_node {
            processes.restart(&process.launch.name)?;
        }
        Ok(())
    }

    /// Stops a program without ending it, or lets it go on.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn freeze(&self, name: &str, frozen: bool) -> anyhow::Result<()> {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.processes().get(name)?.identity.signal(signal);
        Ok(())
    }

    /// A command that runs in a namespace of the rig: `client`, `wan`, `c1-router`, `c1-cp` or `c1-n1`.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn command_in(&self, place: &str, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        enter_on_start(&mut command, &self.namespace_of(place)?)?;
        Ok(command)
    }

    /// The name of a place's network namespace.
    ///
    /// # Errors
    /// When there is no such place; the error names those there are.
    pub fn namespace_of(&self, place: &str) -> anyhow::Result<String> {
        let prefix = rig_network::plan::prefix(self.plan().id());
        let all = self.plan().namespaces();
        let wanted = format!("{prefix}{place}");
        if all.contains(&wanted) {
            return Ok(wanted);
        }
        let places: Vec<&str> = all.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
        bail!("the rig has no place named {place}; it has: {}", places.join(", "))
    }
}
