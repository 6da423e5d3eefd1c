//! The binary `larder`; see [`larder::cli::larder`].

fn main() -> ! {
    larder::cli::larder::main()
}
