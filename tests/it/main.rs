//! Everything but the laboratory: one program, so that the library is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so in the shortest way"
)]

mod cli;
mod docs;
mod layers;
mod program;
mod replay;
mod simulation;
#[cfg(target_os = "linux")]
mod tool;
mod wire;
