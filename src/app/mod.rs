//! The program: what was typed, what was meant, and where reports go.

pub mod args;
pub mod egress;
pub mod man;
pub mod output;
pub mod run;
pub mod settings;
pub mod signals;
pub mod terminal;
pub mod watch;
