//! Which capabilities a container has. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::SecurityContext;

/// What a container has that says nothing, as container runtimes agree.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All that runc 1.1 knows, each at the place of its number.
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities, with `CAP_` before them; only those in `permitted`, a set of bits: a machine
/// cannot give what it has not itself.
pub fn of(context: Option<&SecurityContext>, permitted: u64) -> Vec<String> {
    let privileged = context.and_then(|context| context.privileged) == Some(true);
    let mut set: BTreeSet<&str> = if privileged { ALL.into() } else { DEFAULT.into() };
    let asked = context.and_then(|context| context.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let all = list.into_iter().flatten().map(|name| name.to_uppercase());
        all.map(|name| name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)).collect()
    };
    let add = names(asked.and_then(|asked| asked.add.as_ref()));
    let drop = names(asked.and_then(|asked| asked.drop.as_ref()));
    if drop.iter().any(|name| name == "ALL") {
        set.clear();
    }
    set.retain(|name| !drop.iter().any(|one| one == name));
    let every = add.iter().any(|name| name == "ALL");
    set.extend(ALL.into_iter().filter(|name| every || add.iter().any(|one| one == name)));
    let bit = |name: &str| ALL.iter().position(|one| *one == name).unwrap_or(63);
    set.retain(|name| permitted >> bit(name) & 1 == 1);
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

/// The bits of what this process may give on, from `/proc/self/status`.
pub fn permitted() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn capabilities_are_added_and_dropped() {
        let count = |context: Value| of(Some(&serde_json::from_value(context).unwrap()), u64::MAX);
        assert_eq!(of(None, u64::MAX).len(), 14);
        assert_eq!(of(None, 1), ["CAP_CHOWN"]);
        assert_eq!(count(json!({"privileged": true})).len(), 41);
        assert_eq!(
            count(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "cap_sys_admin"]}})),
            ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
        );
        assert_eq!(count(json!({"capabilities": {"drop": ["NET_RAW"]}})).len(), 13);
        assert_eq!(count(json!({"capabilities": {"add": ["ALL"]}})).len(), 41);
    }
}
