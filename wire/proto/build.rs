//! Compiles every `.proto` under `proto/` to messages, clients and servers, without `protoc`.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let mut files = Vec::new();
    collect(Path::new(ROOT), &mut files)?;
    files.sort();
    let descriptors = protox::compile(files, [ROOT])?;
    tonic_prost_build::configure()
        // Resources are shared between subscribers, so their bytes are counted references.
        .bytes(".strait.v1")
        .bytes(".istio.workload")
        // Sorted, so that equal messages have equal bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
