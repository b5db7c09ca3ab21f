//! Rules into the kernel, with what this host lacks put in its place.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group, Uid, User as Account};

use super::guard::is_interface;
use super::question::{Format, Part, User};
use super::scratch::Who;
use super::tools::{Said, Tools};
use super::{OracleError, StandIn, saved};

/// Lines of parts that are to be others: by part and line, from 0.
pub(super) type Edits = BTreeMap<(usize, usize), String>;

/// The highest number that a user of a host may have by Debian's policy; numbers for those whom this host
/// lacks are sought downwards from it.
const HIGHEST_USER: u32 = 59_999;

/// A class of the first version of control groups, which nothing here is in.
const NO_CGROUP: &str = "meta cgroup 4000000000";

/// How often a part is tried again after a name was replaced: nft reports up to ten at once.
const ATTEMPTS: usize = 50;

/// The names that this host lacks, and what they got.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<String, u32>,
    others: Vec<StandIn>,
}

impl Names {
    /// The number of the user asked about.
    pub(super) fn who(&mut self, user: &User) -> Who {
        let (uid, account) = match user {
            User::Own => {
                let (uid, gid) = (
                    nix::unistd::geteuid().as_raw(),
                    nix::unistd::getegid().as_raw(),
                );
                return Who { uid, gid };
            }
            User::Id(id) => (*id, Account::from_uid(Uid::from_raw(*id))),
            User::Name(name) => match Account::from_name(name) {
                Ok(Some(account)) => (account.uid.as_raw(), Ok(Some(account))),
                _ => (self.number(name), Ok(None)),
            },
        };
        let gid = account.ok().flatten().map(|account| account.gid.as_raw());
        let gid = gid.unwrap_or(uid);
        Who { uid, gid }
    }

    /// An unused number for a user or group, always the same for the same name.
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.users.get(name) {
            return *number;
        }
        let taken = |number: u32| {
            self.users.values().any(|other| *other == number)
                || matches!(Account::from_uid(Uid::from_raw(number)), Ok(Some(_)))
                || matches!(Group::from_gid(Gid::from_raw(number)), Ok(Some(_)))
        };
        let number = (1..=HIGHEST_USER).rev().find(|number| !taken(*number));
        let number = number.unwrap_or(HIGHEST_USER);
        self.users.insert(name.to_owned(), number);
        number
    }

    /// All of them, as answers say it.
    pub(super) fn stand_ins(&self) -> Vec<StandIn> {
        let users = self.users.iter();
        let users = users.map(|(name, number)| StandIn::User(name.clone(), *number));
        users.chain(self.others.iter().cloned()).collect()
    }

    /// Numbers in the place of users and groups that iptables would not know.
    pub(super) fn replace_owners(&mut self, text: &str) -> String {
        let lines = text.lines().map(|line| {
            let words = saved::words(line);
            let mut line = line.to_owned();
            for pair in words.windows(2) {
                let (option, name) = (&pair[0], pair[1].trim_matches('"'));
                let known = match option.as_str() {
                    "--uid-owner" => matches!(Account::from_name(name), Ok(Some(_))),
                    "--gid-owner" => matches!(Group::from_name(name), Ok(Some(_))),
                    _ => true,
                };
                if !known
                    && !name
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'-')
                {
                    let number = self.number(name);
                    let old = format!("{option} {}", pair[1]);
                    line = line.replacen(&old, &format!("{option} {number}"), 1);
                }
            }
            line + "\n"
        });
        lines.collect()
    }

    /// What nft says about a part: replaces the names it does not know, in the text or by interfaces.
    /// False where something else is wrong.
    fn mend(&mut self, text: &mut String, said: &Said, tools: &Tools) -> Result<bool, OracleError> {
        let mut errors: Vec<_> = said.err.lines().filter_map(Complaint::read).collect();
        // From behind, so that the places before stay what they are.
        errors.sort_by_key(|error| std::cmp::Reverse((error.line, error.columns.start)));
        errors.dedup();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut mended = false;
        for error in errors {
            let line = lines.get_mut(error.line.saturating_sub(1));
            let Some((line, quoted)) = line.and_then(|line| {
                let quoted = line.get(error.columns.clone())?.to_owned();
                Some((line, quoted))
            }) else {
                continue;
            };
            let name = quoted.trim_matches('"');
            match error.what {
                "User does not exist" | "Group does not exist" => {
                    line.replace_range(error.columns, &self.number(name).to_string());
                }
                // A control group that this host lacks matches nothing; another kind of group stands for it.
                what if what.starts_with("cgroupv2 path fails") => {
                    let Some(start) = line
                        .get(..error.columns.start)
                        .and_then(|before| before.rfind("socket cgroupv2"))
                    else {
                        continue;
                    };
                    line.replace_range(start..error.columns.end, NO_CGROUP);
                }
                "Interface does not exist" if is_interface(name) => {
                    let stand_in = StandIn::Interface(name.to_owned());
                    if !self.others.contains(&stand_in) {
                        let peer = self.others.len();
                        tools.ip(&format!(
                            "link add {name} type veth peer name oracle{peer}\n"
                        ))?;
                        self.others.push(stand_in);
                    }
                }
                _ => continue,
            }
            mended = true;
        }
        *text = lines.join("\n") + "\n";
        Ok(mended)
    }

    /// Loads the parts for the first time.
    pub(super) fn load(
        &mut self,
        parts: &mut [Part],
        edits: &Edits,
        tools: &Tools,
    ) -> Result<(), OracleError> {
        for index in 0..parts.len() {
            let mut attempts = 0..ATTEMPTS;
            while let Err(said) = load_part(parts, index, edits, tools)? {
                let part = &mut parts[index];
                let again = part.format == Format::Nft && attempts.next().is_some();
                if !again || !self.mend(&mut part.text, &said, tools)? {
                    return Err(refusal(part, &said));
                }
            }
        }
        Ok(())
    }
}

/// Loads the parts again.
pub(super) fn load(parts: &[Part], edits: &Edits, tools: &Tools) -> Result<(), OracleError> {
    for (index, part) in parts.iter().enumerate() {
        load_part(parts, index, edits, tools)?.map_err(|said| refusal(part, &said))?;
    }
    Ok(())
}

fn load_part(
    parts: &[Part],
    index: usize,
    edits: &Edits,
    tools: &Tools,
) -> Result<Result<(), Said>, OracleError> {
    let part = &parts[index];
    let mut text = String::new();
    for (number, line) in part.text.lines().enumerate() {
        let edited = edits.get(&(index, number));
        text.push_str(edited.map_or(line, String::as_str));
        text.push('\n');
    }
    let said = tools.load(part.format, &text)?;
    Ok(if said.success { Ok(()) } else { Err(said) })
}

/// An error of nft: `/dev/stdin:LINE:FROM-TO: Error: WHAT`.
#[derive(Debug, PartialEq, Eq)]
struct Complaint<'a> {
    line: usize,
    /// From 0, in bytes.
    columns: std::ops::Range<usize>,
    what: &'a str,
}

impl<'a> Complaint<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (place, what) = line.split_once(": Error: ")?;
        let mut place = place.rsplitn(3, ':');
        let (from, to) = place.next()?.split_once('-')?;
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        Some(Self {
            line: place.next()?.parse().ok()?,
            columns: from.checked_sub(1)?..to,
            what: what.trim(),
        })
    }
}

/// The first error of a tool, without the lines that it quotes.
fn refusal(part: &Part, said: &Said) -> OracleError {
    let nft = said.err.lines().find_map(Complaint::read);
    let (line, complaint) = if let Some(complaint) = nft {
        (Some(complaint.line), complaint.what.to_owned())
    } else {
        let words = |marker| {
            let (_, rest) = said.err.split_once(marker)?;
            let digits = rest
                .trim_start()
                .split(|c: char| !c.is_ascii_digit())
                .next()?;
            digits.parse().ok()
        };
        let line = words("Error occurred at line:").or_else(|| words("line "));
        // iptables begins with its name, and sometimes says the rest in the next line.
        let said_something = |line: &&str| !line.trim().is_empty() && !line.trim().ends_with("):");
        let first = said.err.lines().find(said_something);
        (line, first.unwrap_or("the tool failed").trim().to_owned())
    };
    OracleError::Rules {
        part: part.name.clone(),
        line,
        complaint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_a_place() {
        let read = Complaint::read("/dev/stdin:6:26-31: Error: User does not exist").unwrap();
        assert_eq!(
            (read.line, read.columns, read.what),
            (6, 25..31, "User does not exist")
        );
        assert_eq!(Complaint::read("    meta skuid \"x\" accept"), None);
    }

    #[test]
    fn what_iptables_says_has_a_line() {
        let part = Part {
            name: "x".to_owned(),
            format: Format::Iptables,
            text: String::new(),
        };
        let said = |err: &str| Said {
            success: false,
            out: String::new(),
            err: err.to_owned(),
        };
        let error = refusal(
            &part,
            &said(
                "iptables-restore v1.8.9 (nf_tables): Couldn't load match `x'\n\nError occurred at line: 5\n",
            ),
        );
        let OracleError::Rules { line, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(line, Some(5));
    }

    #[test]
    fn owners_that_are_missing_get_numbers() {
        let mut names = Names::default();
        let text = "-A OUTPUT -m owner --uid-owner no-such-user-here -j ACCEPT\n\
                    -A OUTPUT -m owner ! --uid-owner \"no-such-user-here\" -j DROP\n\
                    -A OUTPUT -m owner --uid-owner root -j ACCEPT\n";
        let told = names.replace_owners(text);
        let number = names.number("no-such-user-here").to_string();
        assert_eq!(told.matches(&number).count(), 2, "{told}");
        assert!(told.contains("--uid-owner root"));
    }
}
