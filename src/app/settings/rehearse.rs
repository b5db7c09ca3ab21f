//! What is to be rehearsed, read and recognised before anything is touched.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::session::session;
use super::{Request, UsageError, settings};
use crate::app::args::{OutputArgs, RehearseArgs};
use crate::app::terminal::Terminal;
use crate::rehearse::Rehearsal;
use crate::rehearse::format::{self, Rules};

/// The rules are read here, once: what is tested is what is applied, whatever happens to the file.
pub(super) fn request(
    args: &RehearseArgs,
    output: OutputArgs,
    terminal: Terminal,
) -> Result<Request, UsageError> {
    let quiet = output.quiet;
    let settings = settings(&args.check, output, terminal)?;
    let deadline = deadline(&args.deadline)?;
    let Some(path) = &args.rules else {
        return Ok(Request::Restore);
    };
    let rehearsal = Rehearsal {
        check: settings.check(),
        progress: settings.presentation.progress,
        rules: rules(path, args.ipv6.as_deref())?,
        deadline,
        yes: args.yes,
        may_remove: args.may_remove.clone(),
        may_close_ssh: args.may_close_ssh,
        session: session(),
        as_user: args.as_user.clone(),
        quiet,
    };
    Ok(Request::Rehearse(
        Box::new(rehearsal),
        Box::new(settings.presentation),
    ))
}

/// Whole seconds: nobody confirms within a fraction of one.
fn deadline(text: &str) -> Result<Duration, UsageError> {
    let seconds = text.parse().ok().filter(|s| (2..=3600).contains(s));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| UsageError::Deadline(text.to_owned()))
}

fn rules(path: &Path, ipv6: Option<&Path>) -> Result<Rules, UsageError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |why| UsageError::Rules { path, why }
    };
    let first = read_rules(path)?;
    let Some(second) = ipv6 else {
        return format::recognise(&first).map_err(of(path));
    };
    let pair = format::recognise_pair(&first, &read_rules(second)?);
    pair.map_err(of(path))?.map_err(of(second))
}

/// Rules are at most this long: more would be a mistake, such as a device.
const MAX_RULES_BYTES: u64 = 64 << 20;

fn read_rules(path: &Path) -> Result<Vec<u8>, UsageError> {
    let unreadable = |why| UsageError::RulesFile {
        path: path.to_owned(),
        why,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let length = file.take(MAX_RULES_BYTES + 1).read_to_end(&mut bytes);
    if length.map_err(unreadable)? as u64 > MAX_RULES_BYTES {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}
