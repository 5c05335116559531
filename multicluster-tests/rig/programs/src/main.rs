//! Makes every program and every image of the rig where they are missing, and prints where each is.
//!
//! CI calls it before anything else that needs them, so that the minutes of the first time are seen for what they are.

use std::process::ExitCode;

use rig_programs::{Cache, Channel, Program, ProgramError, images};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), ProgramError> {
    let cache = Cache::open()?;
    let mut progress = |line: &str| eprintln!("{line}");
    cache.ensure(&Program::ALL, &mut progress)?;
    let folder = images::assemble(&cache, &mut progress)?;
    for program in Program::ALL {
        println!("{}\t{}", program.file_name(), cache.path(program).display());
    }
    println!("images\t{}", folder.display());
    println!("definitions\t{}", cache.gateway_api_crds(Channel::Experimental).display());
    Ok(())
}
