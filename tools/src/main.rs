//! The binary `larder-tools`; see [`larder_tools::command`].

fn main() -> ! {
    larder_tools::command::main()
}
