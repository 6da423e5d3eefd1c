//! The binary `larder-agent`; see [`larder::agent`].

fn main() -> ! {
    larder::agent::main()
}
