//! The words of options whose values are the domain's: clap gets them here, so that the domain does not
//! know clap.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::model::{IpVersionChoice, ProtocolChoice};
use crate::report::Format;
use crate::rules::Dialect;

impl ValueEnum for ProtocolChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Auto => "QUIC first, HTTP/2 when it fails",
            Self::Quic => "QUIC only",
            Self::Http2 => "HTTP/2 only",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for IpVersionChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Auto => "The family that RFC 6724 sorts first; from IPv6 it falls back to IPv4",
            Self::V4 => "IPv4 only",
            Self::V6 => "IPv6 only",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Table => "For people: the verdict, the destinations, the faults and what to do",
            Self::Json => "For programs: everything, as docs/json.md describes it",
            Self::Junit => {
                "For CI systems: a test case for the verdict and one for each destination, as JUnit XML"
            }
            Self::Markdown => "For job summaries and issue trackers: GitHub Flavored Markdown",
            Self::Github => "For jobs of GitHub Actions: workflow commands that annotate the run",
            Self::Prometheus => "For node_exporter's textfile collector: metrics of Prometheus",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for Dialect {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Nftables => "A file for nft --file",
            Self::Iptables => "A shell script around iptables-restore and ip6tables-restore",
            Self::Ufw => "A shell script of ufw commands",
            Self::Firewalld => "A shell script that replaces policies of firewalld",
            Self::Windows => "A script of New-NetFirewallRule for Windows",
            Self::Pf => "A file for an anchor of pf (FreeBSD, OpenBSD, macOS)",
            Self::Gcloud => "A shell script of gcloud commands: VPC firewall rules",
            Self::Aws => "A shell script of aws commands: a security group of EC2",
            Self::Azure => "A shell script of az commands: a network security group",
            Self::Kubernetes => "A policy of Kubernetes for cloudflared's pods",
            Self::Cilium => "A policy of Cilium, which follows names",
            Self::Csv => "A table to paste into a ticket",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}
