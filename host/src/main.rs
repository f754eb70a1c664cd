//! Runs the program `piimg`.

fn main() {
    std::process::exit(piimg::cli::main());
}
