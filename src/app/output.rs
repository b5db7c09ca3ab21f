//! Reports to where they are wanted: files, then standard output.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::Path;

use crate::app::settings::Presentation;
use crate::diff::{Difference, compare};
use crate::model::{ExitStatus, Report};
use crate::report::{self, Content, Style, Verbosity};

/// A report as it is told, masked where that is asked for, with what is different from the baseline.
#[derive(Debug)]
pub struct Told {
    report: Report,
    difference: Option<Difference>,
}

impl Told {
    /// Masks and compares. Both reports are masked before they are compared, so that nothing of the
    /// host is in what is different.
    ///
    /// # Errors
    /// As [`report::redact`].
    pub fn new(report: Report, baseline: Option<&Report>, to: &Presentation) -> io::Result<Self> {
        if !to.redact {
            let difference = baseline.map(|before| compare(before, &report));
            return Ok(Self { report, difference });
        }
        let report = report::redact(&report)?;
        let baseline = baseline.map(report::redact).transpose()?;
        let difference = baseline.map(|before| compare(&before, &report));
        Ok(Self { report, difference })
    }

    /// The report.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The report, with the difference where there is a baseline.
    #[must_use]
    pub const fn content(&self) -> Content<'_> {
        match &self.difference {
            Some(difference) => Content::Compared(&self.report, difference),
            None => Content::Report(&self.report),
        }
    }

    /// The difference alone, where there is a baseline.
    #[must_use]
    pub const fn difference(&self) -> Content<'_> {
        match &self.difference {
            Some(difference) => Content::Difference(difference),
            None => Content::Report(&self.report),
        }
    }
}

/// What the process tells its caller: the verdict, or what is different from the baseline.
#[must_use]
pub fn exit_status(report: &Report, baseline: Option<&Report>) -> ExitStatus {
    match baseline {
        Some(before) => compare(before, report).outcome.exit_status(),
        None => ExitStatus::of(report.verdict, report.exit_code == 0),
    }
}

/// Writes the files, as [`replace_files`] does, and standard output. One that fails does not cost the
/// others.
///
/// # Errors
/// The system's of the first that fails, naming the file or standard output; of the kind of the
/// original.
pub fn deliver(content: Content<'_>, to: &Presentation, out: &mut dyn Write) -> io::Result<()> {
    let filed = replace_files(content, to);
    let told = report::render(content, to.format, to.style, to.verbosity, out);
    filed.and(told.map_err(|error| naming_stdout(&error)))
}

/// Writes the files so that whoever reads them, at whatever time, finds the old report or the new
/// one, never a part: as the textfile collector of `node_exporter` does. One that fails does not cost
/// the others.
///
/// # Errors
/// The system's of the first that fails, naming the file.
pub fn replace_files(content: Content<'_>, to: &Presentation) -> io::Result<()> {
    let texts = files(content, to)?.into_iter();
    let write = |(path, text): (&Path, Vec<u8>)| {
        replace(path, &text).map_err(|error| naming_output(path, &error))
    };
    texts.map(write).fold(Ok(()), Result::and)
}

/// Writes a text to standard output.
///
/// # Errors
/// The system's, naming standard output.
pub fn write_text(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| naming_stdout(&error))
}

/// Each file with its text.
fn files<'a>(content: Content<'_>, to: &'a Presentation) -> io::Result<Vec<(&'a Path, Vec<u8>)>> {
    let verbosity = match to.verbosity {
        Verbosity::Quiet => Verbosity::Normal,
        other => other,
    };
    let render = |(path, format): &'a (_, _)| {
        let mut text = Vec::new();
        report::render(content, *format, Style::default(), verbosity, &mut text)?;
        Ok((std::path::PathBuf::as_path(path), text))
    };
    to.outputs.iter().map(render).collect()
}

/// Puts a file with the text in the place of what is there. What is no file (a pipe, a device) is
/// written as it is, and so is a file that cannot be replaced (one that a container has mounted, one in
/// a folder that is not ours) or would change its owner.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link stays one; what it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let known = fs::metadata(&path).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return fs::write(&path, text);
    }
    match put_in_place(&path, known.as_ref(), text) {
        Err(error) if stays_possible(&error) => fs::write(&path, text),
        done => done,
    }
}

/// Whether a file that cannot be replaced may still be written. Where there is no room, the report that
/// was there stays.
fn stays_possible(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, CrossesDevices, InvalidFilename, PermissionDenied, ReadOnlyFilesystem,
        ResourceBusy, Unsupported,
    };
    matches!(
        error.kind(),
        AlreadyExists
            | CrossesDevices
            | InvalidFilename
            | PermissionDenied
            | ReadOnlyFilesystem
            | ResourceBusy
            | Unsupported
    )
}

fn put_in_place(path: &Path, known: Option<&Metadata>, text: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    // Hidden, and with another ending: whoever reads all files of the folder does not read this one.
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let new = folder.join(hidden);
    // In a folder that others write to, a link of that name would lead elsewhere.
    let mut file = File::create_new(&new)?;
    let written = file
        .write_all(text)
        .and_then(|()| known.map_or(Ok(()), |known| take_after(&file, known)))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The report that was there stays; what is left of the new one helps nobody.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Gives a file the owner and the permissions of the one that it replaces.
fn take_after(file: &File, known: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (known.uid(), known.gid()) {
            fchown(file, Some(known.uid()), Some(known.gid()))?;
        }
    }
    file.set_permissions(known.permissions())
}

fn naming_output(path: &Path, error: &io::Error) -> io::Error {
    let message = format!("--output: {}: cannot be written: {error}", path.display());
    io::Error::other(message)
}

/// A bare "No space left on device" does not say where. What kind of error it is stays.
fn naming_stdout(error: &io::Error) -> io::Error {
    let message = format!("standard output cannot be written: {error}");
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, "old and long").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn whoever_has_it_open_reads_the_old_report_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, "old and long").unwrap();
        let reader = File::open(&path).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "old and long");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe.json");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path)
        });
        replace(&path, b"through").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "through");
        assert!(!fs::metadata(&path).unwrap().is_file());
        replace(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    /// A file named like the new one before it is renamed: a link there must not be followed.
    #[cfg(unix)]
    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.prom"), folder.path().join("other"));
        let trap = folder
            .path()
            .join(format!(".a.prom.{}", std::process::id()));
        fs::write(&other, "others'").unwrap();
        std::os::unix::fs::symlink(&other, &trap).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&other).unwrap(), b"others'");
        assert!(fs::symlink_metadata(&trap).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.json"), folder.path().join("b.json"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
