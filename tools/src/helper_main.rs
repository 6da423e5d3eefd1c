//! The binary `ccache-storage-larder`; see [`larder_tools::serve::crsh`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match larder_tools::serve::crsh::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("ccache-storage-larder: {what}");
            ExitCode::FAILURE
        }
    }
}
