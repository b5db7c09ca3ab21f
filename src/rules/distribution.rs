//! Which family of Linux distributions a host belongs to, for the words about permanence.

/// A family of distributions that keep firewall rules in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Debian, Ubuntu, Raspberry Pi OS, Mint.
    Debian,
    /// RHEL, Fedora, `CentOS` Stream, Rocky, Alma, Amazon Linux.
    RedHat,
    /// SUSE Linux Enterprise, openSUSE.
    Suse,
    /// Arch, Manjaro.
    Arch,
    /// Alpine.
    Alpine,
    /// Any other, or no Linux.
    Other,
}

impl Distribution {
    /// Reads `ID` and `ID_LIKE` of os-release(5); the first word that is known decides.
    #[must_use]
    pub fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            let lines = os_release.lines().filter_map(|line| line.split_once('='));
            let mut values = lines.filter(|(name, _)| name.trim() == key);
            let value = values.next().map_or("", |(_, value)| value);
            value.trim().trim_matches(['"', '\'']).to_ascii_lowercase()
        };
        let words = [value("ID"), value("ID_LIKE")].join(" ");
        let known = words.split_whitespace().find_map(|word| match word {
            "debian" | "ubuntu" => Some(Self::Debian),
            "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "amzn" => Some(Self::RedHat),
            "suse" | "opensuse" | "sles" | "opensuse-leap" | "opensuse-tumbleweed" => {
                Some(Self::Suse)
            }
            "arch" => Some(Self::Arch),
            "alpine" => Some(Self::Alpine),
            _ => None,
        });
        known.unwrap_or(Self::Other)
    }

    /// Its name in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian and Ubuntu",
            Self::RedHat => "RHEL and Fedora",
            Self::Suse => "SUSE",
            Self::Arch => "Arch",
            Self::Alpine => "Alpine",
            Self::Other => "this system",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_word_decides() {
        for (text, wanted) in [
            ("ID=debian\n", Distribution::Debian),
            (
                "NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                Distribution::Debian,
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                Distribution::RedHat,
            ),
            (
                "ID='opensuse-leap'\nID_LIKE='suse opensuse'",
                Distribution::Suse,
            ),
            ("ID=manjaro\nID_LIKE=arch", Distribution::Arch),
            ("ID=alpine", Distribution::Alpine),
            ("ID=plan9", Distribution::Other),
            ("VERSION_ID=debian", Distribution::Other),
            ("", Distribution::Other),
        ] {
            assert_eq!(Distribution::parse(text), wanted, "{text}");
        }
    }
}
