//! The program `piimg`.

fn main() {
    std::process::exit(piimg::cli::main());
}
