//! `tunnelcheck` tells whether cloudflared can get out of a network, and what stands in the way.

pub mod catalog;
pub mod diagnose;
pub mod evidence;
pub mod exit;
pub mod model;
pub mod net;
pub mod observe;
pub mod plan;
pub mod targets;
