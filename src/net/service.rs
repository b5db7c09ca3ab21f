//! How systemd would start cloudflared on this host, by the files of its unit. Nothing is asked of systemd, no
//! token is kept, and nothing is sent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use crate::model::{ServiceUnit, Systemd};

/// Where units are, the most important folder first (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The unit that `cloudflared service install` writes.
const UNIT: &str = "cloudflared.service";

/// Where cloudflared looks for its configuration when it runs as root.
const CONFIGURATIONS: [&str; 5] = [
    "root/.cloudflared",
    "root/.cloudflare-warp",
    "root/cloudflare-warp",
    "etc/cloudflared",
    "usr/local/etc/cloudflared",
];

/// The start limit of a unit that sets none (`DefaultTimeoutStartSec`, systemd-system.conf(5)).
const USUAL_LIMIT: Duration = Duration::from_secs(90);

/// More than any unit or configuration has.
const MOST_BYTES: u64 = 1 << 20;

/// What systemd is to cloudflared here; nothing where systemd does not run the services.
pub(super) fn systemd() -> Option<Systemd> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    below(Path::new("/"))
}

/// The same for a root folder.
fn below(root: &Path) -> Option<Systemd> {
    // The test that systemd itself recommends (sd_booted(3)).
    if !root.join("run/systemd/system").is_dir() {
        return None;
    }
    Some(Systemd { unit: unit(root) })
}

fn unit(root: &Path) -> Option<ServiceUnit> {
    let files = FOLDERS.iter().map(|folder| root.join(folder).join(UNIT));
    let path = files
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())?;
    let text = read(&path)?;
    // A unit that is masked is empty.
    if text.trim().is_empty() {
        return None;
    }
    let mut service = Section::default();
    service.add(&text);
    let mut complete = true;
    for path in drop_ins(root) {
        match read(&path) {
            Some(text) => service.add(&text),
            None => complete = false,
        }
    }
    let shown = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
    let mut unit = service.unit(shown.display().to_string());
    unit.options_known &= complete && !configured_elsewhere(root);
    Some(unit)
}

/// Files that change the unit, by name; of two with one name the folder that comes first wins.
fn drop_ins(root: &Path) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS.iter().rev() {
        let folder = root.join(folder).join(format!("{UNIT}.d"));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "conf")
            {
                found.insert(entry.file_name(), entry.path());
            }
        }
    }
    found.into_values().collect()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a configuration file sets options that decide how a start goes, or may do so.
fn configured_elsewhere(root: &Path) -> bool {
    let folders = CONFIGURATIONS.iter().map(|folder| root.join(folder));
    let mut files =
        folders.flat_map(|folder| ["config.yml", "config.yaml"].map(|name| folder.join(name)));
    files.any(|path| {
        let hidden = |why: std::io::Error| why.kind() == ErrorKind::PermissionDenied;
        let exists = path.symlink_metadata().map_or_else(hidden, |_| true);
        exists && read(&path).is_none_or(|text| text.lines().any(sets_an_option))
    })
}

fn sets_an_option(line: &str) -> bool {
    let key = line.split(':').next().unwrap_or_default();
    let key = key.trim().trim_matches(['"', '\'']);
    DECIDING.contains(&key) || ["protocol", "edge-ip-version"].contains(&key)
}

/// Other options that decide how a start goes; `config` names a file that is not read.
const DECIDING: [&str; 8] = [
    "config",
    "edge",
    "region",
    "edge-bind-address",
    "post-quantum",
    "cacert",
    "max-edge-addr-retries",
    "retries",
];

/// The variables of the same options.
const DECIDING_VARIABLES: [&str; 6] = [
    "TUNNEL_EDGE",
    "TUNNEL_REGION",
    "TUNNEL_EDGE_BIND_ADDRESS",
    "TUNNEL_POST_QUANTUM",
    "TUNNEL_CACERT",
    "TUNNEL_RETRIES",
];

/// The assignments of a `[Service]` section that matter.
#[derive(Debug, Default)]
struct Section {
    kind: String,
    limit: Option<String>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Whether options may come from a file or a folder that is not read.
    elsewhere: Elsewhere,
}

/// Where options of a service may come from that are not read.
#[derive(Debug, Default)]
struct Elsewhere {
    /// A file of variables, or variables of systemd itself.
    environment: bool,
    /// The home of another user than root.
    home: bool,
}

impl Section {
    /// Reads a file: later assignments win, and an empty one takes back those before it.
    fn add(&mut self, text: &str) {
        let joined = text.replace("\\\n", " ");
        let mut ours = false;
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                ours = line == "[Service]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| ours) else {
                continue;
            };
            self.assign(key.trim(), value.trim());
        }
    }

    fn assign(&mut self, key: &str, value: &str) {
        match key {
            "Type" => value.clone_into(&mut self.kind),
            "TimeoutStartSec" | "TimeoutSec" => self.limit = Some(value.to_owned()),
            "ExecStart" => self.command = words(value),
            "Environment" if value.is_empty() => self.environment.clear(),
            "Environment" => {
                let set = words(value);
                let pairs = set.iter().filter_map(|word| word.split_once('='));
                let wanted = pairs.filter(|(name, _)| name.starts_with("TUNNEL_"));
                self.environment
                    .extend(wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            "EnvironmentFile" | "PassEnvironment" => {
                self.elsewhere.environment = !value.is_empty();
            }
            "User" => self.elsewhere.home = !["", "root", "0"].contains(&value),
            "DynamicUser" => self.elsewhere.home |= ["1", "yes", "true", "on"].contains(&value),
            _ => {}
        }
    }

    fn unit(&self, path: String) -> ServiceUnit {
        let protocol = self.option("protocol", "TUNNEL_TRANSPORT_PROTOCOL");
        let version = self.option("edge-ip-version", "TUNNEL_EDGE_IP_VERSION");
        let set = |name: &&str| self.flag(name).is_some();
        let in_environment = |name: &&str| self.environment.contains_key(*name);
        let others = DECIDING.iter().any(set) || DECIDING_VARIABLES.iter().any(in_environment);
        ServiceUnit {
            path,
            waits_for_ready: self.kind == "notify" || self.kind == "notify-reload",
            start_timeout_ms: self.limit(),
            options_known: self.runs_cloudflared()
                && !(others || self.elsewhere.environment || self.elsewhere.home)
                && protocol.is_ok()
                && version.is_ok(),
            protocol: protocol.unwrap_or_default(),
            edge_ip_version: version.unwrap_or_default(),
        }
    }

    /// Whether the command is cloudflared itself, with all its options spelled out: a shell or a script
    /// may add others, and so may a variable.
    fn runs_cloudflared(&self) -> bool {
        let program = self.command.first().map(|word| {
            // What systemd allows in front of a program (systemd.service(5)).
            let path = word.trim_start_matches(['@', '-', ':', '+', '!', '|']);
            path.rsplit('/').next().unwrap_or(path)
        });
        program == Some("cloudflared") && !self.command.iter().any(|word| word.contains('$'))
    }

    /// An option of the command line, else of the environment. An error where its value is not one.
    fn option<T: FromStr>(&self, flag: &str, variable: &str) -> Result<Option<T>, ()> {
        let value = self
            .flag(flag)
            .or_else(|| self.environment.get(variable).map(String::as_str));
        let known = |text: &str| text.to_ascii_lowercase().parse().map_err(|_| ());
        value.map(known).transpose()
    }

    /// The value of `--NAME VALUE` or `--NAME=VALUE`.
    fn flag(&self, name: &str) -> Option<&str> {
        let mut words = self.command.iter();
        while let Some(word) = words.next() {
            let Some(own) = word.strip_prefix('-').map(|w| w.trim_start_matches('-')) else {
                continue;
            };
            match own.split_once('=') {
                Some((flag, value)) if flag == name => return Some(value),
                None if own == name => return Some(words.next().map_or("", String::as_str)),
                _ => {}
            }
        }
        None
    }

    /// The start limit in milliseconds; nothing where there is none (systemd.time(7)).
    fn limit(&self) -> Option<u64> {
        let text = self.limit.as_deref().unwrap_or_default();
        if text == "infinity" || text == "0" {
            return None;
        }
        let seconds = text
            .parse::<u32>()
            .ok()
            .map(|s| Duration::from_secs(s.into()));
        let spelled = || text.parse::<SignedDuration>().ok()?.try_into().ok();
        let limit = seconds.or_else(spelled).unwrap_or(USUAL_LIMIT);
        u64::try_from(limit.as_millis()).ok()
    }
}

/// The words of a value, with the quotes that systemd knows.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in value.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::model::{IpVersionChoice, ProtocolChoice};

    /// What `cloudflared service install` writes.
    const OFFICIAL: &str = "[Unit]\nDescription=cloudflared\nAfter=network-online.target\n\n[Service]\n\
        TimeoutStartSec=15\nType=notify\nExecStart=/usr/bin/cloudflared --no-autoupdate tunnel run \
        --token-file /etc/cloudflared/token\nRestart=on-failure\nRestartSec=5s\n";

    fn host(files: &[(&str, &str)]) -> Option<Systemd> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        below(root.path())
    }

    fn read_unit(files: &[(&str, &str)]) -> ServiceUnit {
        host(files).unwrap().unit.unwrap()
    }

    const ETC: &str = "etc/systemd/system/cloudflared.service";

    #[test]
    fn the_official_unit() {
        let unit = read_unit(&[(ETC, OFFICIAL)]);
        let expected = ServiceUnit {
            path: "/etc/systemd/system/cloudflared.service".to_owned(),
            waits_for_ready: true,
            start_timeout_ms: Some(15_000),
            protocol: None,
            edge_ip_version: None,
            options_known: true,
        };
        assert_eq!(unit, expected);
    }

    #[test]
    fn a_host_without_systemd_or_without_the_unit() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(below(empty.path()), None);
        assert_eq!(host(&[]), Some(Systemd { unit: None }));
        assert_eq!(host(&[(ETC, "")]), Some(Systemd { unit: None }));
    }

    #[test]
    fn drop_ins_win_in_the_order_of_their_names() {
        let file = |name: &str| format!("{ETC}.d/{name}.conf");
        let (late, early) = (file("50-late"), file("10-early"));
        let unit = read_unit(&[
            (ETC, OFFICIAL),
            (&early, "[Service]\nTimeoutStartSec=1min 30s\n"),
            (
                &late,
                "[Service]\nTimeoutStartSec=4min\nEnvironment=\"TUNNEL_TRANSPORT_PROTOCOL=http2\"\n",
            ),
        ]);
        assert_eq!(unit.start_timeout_ms, Some(240_000));
        assert_eq!(unit.protocol, Some(ProtocolChoice::Http2));
        assert!(unit.options_known);
    }

    #[test]
    fn limits_are_read_as_systemd_reads_them() {
        let limit = |text: &str| {
            let unit = OFFICIAL.replace("TimeoutStartSec=15\n", text);
            read_unit(&[(ETC, &unit)]).start_timeout_ms
        };
        assert_eq!(limit("TimeoutStartSec=infinity\n"), None);
        assert_eq!(limit("TimeoutStartSec=0\n"), None);
        assert_eq!(limit("TimeoutSec=500ms\n"), Some(500));
        assert_eq!(limit("TimeoutStartSec=2min\n"), Some(120_000));
        assert_eq!(limit(""), Some(90_000));
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let line = "ExecStart=/usr/bin/cloudflared tunnel --protocol=http2 --edge-ip-version 4 run";
        let text =
            format!("[Service]\nType=simple\nEnvironment=TUNNEL_TRANSPORT_PROTOCOL=quic\n{line}\n");
        let unit = read_unit(&[(ETC, &text)]);
        assert_eq!(unit.protocol, Some(ProtocolChoice::Http2));
        assert_eq!(unit.edge_ip_version, Some(IpVersionChoice::V4));
        assert!(!unit.waits_for_ready && unit.options_known);
    }

    #[test]
    fn what_is_set_elsewhere_is_not_known() {
        let known = |files: &[(&str, &str)]| read_unit(files).options_known;
        let with = |text: &str| OFFICIAL.replace("--no-autoupdate", text);
        assert!(!known(&[(ETC, &with("--config /srv/c.yml"))]));
        assert!(!known(&[(ETC, &with("--region us"))]));
        assert!(!known(&[(ETC, &with("--protocol something"))]));
        assert!(!known(&[(
            ETC,
            &format!("{OFFICIAL}EnvironmentFile=-/etc/default/cloudflared\n")
        )]));
        for command in [
            "/bin/sh -c 'exec cloudflared tunnel --protocol http2 run'",
            "/usr/local/bin/start-cloudflared.sh",
            "/usr/bin/cloudflared tunnel $OPTIONS run",
        ] {
            let text = format!("{OFFICIAL}ExecStart=\nExecStart={command}\n");
            assert!(!known(&[(ETC, &text)]), "{command}");
        }
        let prefixed = format!("{OFFICIAL}ExecStart=\nExecStart=-/opt/cloudflared tunnel run\n");
        assert!(known(&[(ETC, &prefixed)]));
        for line in [
            "User=tunnel",
            "DynamicUser=yes",
            "PassEnvironment=TUNNEL_EDGE",
        ] {
            assert!(!known(&[(ETC, &format!("{OFFICIAL}{line}\n"))]), "{line}");
        }
        assert!(known(&[(ETC, &format!("{OFFICIAL}User=root\n"))]));
        let file = "etc/cloudflared/config.yml";
        assert!(!known(&[
            (ETC, OFFICIAL),
            (file, "tunnel: x\nprotocol: http2\n")
        ]));
        assert!(known(&[
            (ETC, OFFICIAL),
            (file, "tunnel: x\ningress: []\n")
        ]));
    }

    #[test]
    fn no_token_is_kept() {
        let text = OFFICIAL.replace(
            "--token-file /etc/cloudflared/token",
            "--token eyJhIjoiY2FuYXJ5In0=",
        );
        let text = format!("{text}Environment=TUNNEL_TOKEN=eyJhIjoiY2FuYXJ5In0=\n");
        let said = format!("{:?}", read_unit(&[(ETC, &text)]));
        assert!(!said.contains("eyJ"), "{said}");
    }
}
