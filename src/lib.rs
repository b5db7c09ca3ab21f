//! tunnelcheck
