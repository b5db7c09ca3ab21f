//! `tunnelcheck` tells whether cloudflared can get out of a network, and what stands in the way.

pub mod catalog;
pub mod model;
pub mod net;
pub mod targets;
