//! `tunnelcheck` tells whether cloudflared can get out of a network, and what stands in the way.

pub mod cli;
pub mod exit;
pub mod model;
pub mod report;
pub mod settings;
pub mod terminal;
