//! PURE: how the system that a report comes from is asked and mended, in its own commands. The report
//! says which system that is, so a report from Windows speaks of Windows wherever it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::JudgedRow;
use crate::model::{Family, Host, RecordType, Transport};

/// The kinds of systems that are spoken of in different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    /// Linux, and whatever has no words of its own.
    Linux,
    /// Windows, in the commands of `PowerShell` 5.1.
    Windows,
}

impl Platform {
    pub(super) fn of(host: &Host) -> Self {
        if host.os == "windows" {
            Self::Windows
        } else {
            Self::Linux
        }
    }

    /// One of two, for words that differ in a place alone.
    pub(super) const fn pick<T: Copy>(self, linux: T, windows: T) -> T {
        match self {
            Self::Linux => linux,
            Self::Windows => windows,
        }
    }

    fn commands(self, linux: &[&str], windows: &[&str]) -> Vec<String> {
        let lines = match self {
            Self::Linux => linux,
            Self::Windows => windows,
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    /// The rules of this host's own firewall.
    pub(super) fn firewall_rules(self) -> Vec<String> {
        self.commands(
            &["nft list ruleset"],
            &[
                "Get-NetFirewallProfile | Format-Table Name, Enabled, DefaultOutboundAction",
                "Get-NetFirewallRule -PolicyStore ActiveStore -Direction Outbound -Action Block \
                 -Enabled True | Format-Table DisplayName, Profile, PolicyStoreSource",
            ],
        )
    }

    /// The log of what this host's own firewall drops, where there is one to switch on.
    pub(super) fn firewall_log(self) -> Vec<String> {
        self.commands(
            &[],
            &[
                "Set-NetFirewallProfile -All -LogBlocked True",
                r".\tunnelcheck.exe",
                r"Get-Content $env:SystemRoot\System32\LogFiles\Firewall\pfirewall.log -Tail 40",
            ],
        )
    }

    /// Rules that let these rows out. On Linux there is no telling into which table and chain.
    pub(super) fn allow_rules(self, rows: &[&JudgedRow]) -> Vec<String> {
        if self == Self::Linux {
            return Vec::new();
        }
        let mut flows = BTreeMap::<(Transport, u16, Family), BTreeSet<IpAddr>>::new();
        for row in rows {
            let target = &row.target;
            let flow = (target.service.transport(), target.port, target.family);
            let addresses = flows.entry(flow).or_default();
            addresses.extend(row.verdict.blocked());
        }
        flows.retain(|_, addresses| !addresses.is_empty());
        flows
            .into_iter()
            .map(|((transport, port, family), addresses)| {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                format!(
                    "New-NetFirewallRule -DisplayName 'cloudflared {transport} {port} {family}' \
                     -Direction Outbound -Action Allow -Protocol {transport} -RemotePort {port} \
                     -RemoteAddress {}",
                    addresses.join(", ")
                )
            })
            .collect()
    }

    /// One connection by the system's own means, to a blocked address of these rows. There is none for
    /// UDP.
    pub(super) fn try_connection(self, rows: &[&JudgedRow]) -> Vec<String> {
        let tcp = rows
            .iter()
            .find(|row| row.target.service.transport() == Transport::Tcp);
        let blocked = tcp.and_then(|row| Some((row.verdict.blocked().next()?, row.target.port)));
        match (self, blocked) {
            (Self::Windows, Some((address, port))) => {
                vec![format!(
                    "Test-NetConnection -ComputerName {address} -Port {port}"
                )]
            }
            _ => Vec::new(),
        }
    }

    /// A question to a resolver, or to the system's where none is named.
    pub(super) fn ask(self, server: Option<IpAddr>, name: &str, record: RecordType) -> String {
        let server = |option: &str| server.map_or_else(String::new, |ip| format!(" {option}{ip}"));
        match self {
            Self::Linux => format!("dig{} {name} {record}", server("@")),
            Self::Windows => format!(
                "Resolve-DnsName -Name {name} -Type {record}{} -DnsOnly",
                server("-Server ")
            ),
        }
    }

    /// The lines of the hosts file that name the edge.
    pub(super) fn hosts_lines(self) -> Vec<String> {
        self.commands(
            &["grep argotunnel.com /etc/hosts"],
            &[r"Select-String argotunnel.com $env:SystemRoot\System32\drivers\etc\hosts"],
        )
    }

    /// All addresses and the default routes.
    pub(super) fn addresses(self) -> Vec<String> {
        self.commands(
            &["ip address show", "ip route show"],
            &[
                "Get-NetIPAddress | Format-Table InterfaceAlias, IPAddress, PrefixOrigin",
                "Get-NetRoute -DestinationPrefix 0.0.0.0/0, ::/0",
            ],
        )
    }

    /// All routes.
    pub(super) fn routes(self) -> Vec<String> {
        self.commands(
            &["ip route show table all", "ip -6 route show table all"],
            &[
                "Get-NetRoute -AddressFamily IPv4",
                "Get-NetRoute -AddressFamily IPv6",
            ],
        )
    }

    /// The route to one address.
    pub(super) fn route_to(self, address: &str) -> String {
        self.pick("ip -6 route get ", "Find-NetRoute -RemoteIPAddress ")
            .to_owned()
            + address
    }

    /// The clock, and what it is set by.
    pub(super) fn clock(self) -> Vec<String> {
        self.commands(
            &["timedatectl status", "date -u"],
            &["w32tm /query /status", "(Get-Date).ToUniversalTime()"],
        )
    }

    /// The clock alone.
    pub(super) fn time(self) -> Vec<String> {
        self.commands(&["date -u"], &["(Get-Date).ToUniversalTime()"])
    }

    /// Where the path narrows: Linux routers clamp, Windows has a size for each interface.
    pub(super) fn segments(self) -> Vec<String> {
        self.commands(
            &[
                "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
                "ip6tables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
            ],
            &["Get-NetIPInterface | Format-Table InterfaceAlias, AddressFamily, NlMtu"],
        )
    }

    /// The system's certificate authorities.
    pub(super) fn authorities(self) -> Vec<String> {
        self.commands(
            &["apt-get install ca-certificates"],
            &[
                r"Get-ChildItem Cert:\LocalMachine\Root",
                "certutil -verifyCTL AuthRootWU",
            ],
        )
    }

    /// Which resolvers are configured, and who listens as one.
    pub(super) fn stub(self, by_systemd: bool) -> Vec<String> {
        if by_systemd && self == Self::Linux {
            return self.commands(
                &["resolvectl status", "cat /run/systemd/resolve/resolv.conf"],
                &[],
            );
        }
        self.commands(
            &["cat /etc/resolv.conf", "ss -lunp 'sport = :53'"],
            &[
                "Get-DnsClientServerAddress",
                "Get-NetUDPEndpoint -LocalPort 53 | Format-Table LocalAddress, OwningProcess",
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::diagnose::diagnose;
    use crate::model::{
        Attempt, ContactFailure, FindingCode, LookupStatus, Millis, Outcome, Report, Transport, Via,
    };

    /// Every report that is recorded, as the same network would be reported by the other system.
    fn recorded(os: &str) -> Vec<(String, Report)> {
        let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay/cases");
        let files = std::fs::read_dir(cases).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        let reports = paths.into_iter().map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let report: Report = serde_json::from_str(&text).unwrap();
            let mut seen = report.into_observations();
            os.clone_into(&mut seen.host.os);
            if os == "windows" {
                // What the program reads from files of Linux.
                seen.host.udp_buffers = None;
                seen.host.resolver_options = None;
                wait_for_late_resets(&mut seen.attempts);
            }
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, diagnose(seen))
        });
        reports.collect()
    }

    /// Where a reset is told late, and a SYN may be sent again late, silence takes longer. (What answers
    /// at another time might have answered in that time as well.)
    fn wait_for_late_resets(attempts: &mut [Attempt]) {
        let answers = attempts.iter().filter(|a| a.contact_ms.is_some());
        let answering: BTreeSet<_> = answers.map(|a| (a.address, a.transport)).collect();
        for attempt in attempts {
            let silent = matches!(
                attempt.outcome,
                Outcome::Unanswered {
                    failure: ContactFailure::Silent
                }
            );
            let never_answers = !answering.contains(&(attempt.address, attempt.transport));
            if attempt.transport == Transport::Tcp && silent && never_answers {
                attempt.elapsed_ms = Millis::from(attempt.elapsed_ms.get() + 8_700.0);
            }
        }
    }

    /// All that a report says about a network in words of this program.
    fn words(report: &Report) -> Vec<String> {
        let details = report.destinations.iter().filter_map(|d| d.detail.clone());
        let findings = report.findings.iter().flat_map(|finding| {
            let parts = [&finding.title, &finding.detail, &finding.remedy.summary];
            let evidence = finding.evidence.iter().map(|evidence| evidence.0.clone());
            let commands = finding.remedy.commands.iter().cloned();
            let parts = parts.into_iter().cloned();
            parts.chain(evidence).chain(commands).collect::<Vec<_>>()
        });
        let own = [report.summary.clone(), report.scope.clone()];
        own.into_iter().chain(details).chain(findings).collect()
    }

    #[test]
    fn no_word_of_linux_reaches_windows() {
        const LINUX: [&str; 17] = [
            "nft ",
            "iptables",
            "ip route",
            "ip -6",
            "ip address",
            "dig ",
            "grep ",
            "sysctl",
            "timedatectl",
            "date -u",
            "apt-get",
            "resolv.conf",
            "resolvectl",
            "/etc/",
            "OUTPUT",
            "namespace",
            "systemd",
        ];
        let reports = recorded("windows");
        assert!(reports.len() > 100, "{}", reports.len());
        for (name, report) in &reports {
            for text in words(report) {
                let found = LINUX.iter().find(|word| text.contains(**word));
                assert_eq!(found, None, "{name}: {text}");
            }
        }
    }

    #[test]
    fn no_word_of_windows_reaches_linux() {
        const WINDOWS: [&str; 6] = [
            "-Net", "Resolve-", "Windows", "System32", "certutil", "w32tm",
        ];
        for (name, report) in recorded("linux") {
            for text in words(&report) {
                let found = WINDOWS.iter().find(|word| text.contains(**word));
                assert_eq!(found, None, "{name}: {text}");
            }
        }
    }

    fn remedy(all: &[(String, Report)], name: &str, code: &str) -> String {
        let (_, report) = all.iter().find(|(case, _)| case == name).unwrap();
        let finding = report.findings.iter().find(|f| f.code.as_str() == code);
        let remedy = &finding.unwrap().remedy;
        format!("{}\n{}\n", remedy.summary, remedy.commands.join("\n"))
    }

    #[test]
    fn remedies_on_windows() {
        let told = [
            ("output-udp-dropped", "local-firewall"),
            ("udp-dropped", "udp-dropped"),
            ("tcp-dropped", "tcp-dropped"),
            ("nxdomain", "dns-addresses-failed"),
        ];
        let all = recorded("windows");
        let told = told.map(|(name, code)| format!("{name}, {code}\n{}", remedy(&all, name, code)));
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn verdicts_are_the_same_whoever_tells_them() {
        let (linux, windows) = (recorded("linux"), recorded("windows"));
        let pairs = linux.iter().zip(&windows);
        // Where TCP is silent the two wait differently, so that the same attempts do not prove the same.
        let silent = |report: &Report| {
            let probes = report.destinations.iter().flat_map(|row| &row.probes);
            probes
                .filter(|attempt| attempt.transport == Transport::Tcp)
                .any(|attempt| attempt.contact_ms.is_none())
        };
        // A denial by one of several resolvers is final on Linux, and one voice of many on Windows.
        let divided = |report: &Report| {
            let lookups = &report.dns.lookups;
            lookups.iter().any(|denied| {
                denied.status == LookupStatus::NoSuchName
                    && lookups.iter().any(|other| {
                        other.name == denied.name
                            && other.record_type == denied.record_type
                            && matches!(other.via, Via::Resolver(_))
                            && other.status == LookupStatus::Ok
                    })
            })
        };
        let comparable: Vec<_> = pairs
            .filter(|((_, linux), _)| !silent(linux) && !divided(linux))
            .collect();
        assert!(comparable.len() > 50, "{}", comparable.len());
        for ((name, linux), (_, windows)) in comparable {
            let codes = |report: &Report| {
                let codes = report.findings.iter().map(|finding| finding.code);
                codes.collect::<Vec<_>>()
            };
            assert_eq!(linux.verdict, windows.verdict, "{name}");
            let mut told = codes(linux);
            told.retain(|code| *code != FindingCode::UdpBuffers);
            assert_eq!(told, codes(windows), "{name}");
        }
    }
}
