//! The program `duet`. Everything it does is in the library, so that tests and benchmarks can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::cli::main()
}
