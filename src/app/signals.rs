//! Being asked to stop: Ctrl-C and SIGTERM; on Windows Ctrl-C, Ctrl-Break and the end of the console.

use std::io;
use std::thread;

use tokio::sync::watch;

/// Completes when the user or the system asks. Handlers are there once this returns.
///
/// # Errors
/// The system's, when handlers cannot be installed.
pub(crate) fn asked() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    #[cfg(unix)]
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    #[cfg(windows)]
    let wait = {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        let (mut interrupt, mut stop) = (ctrl_c()?, ctrl_break()?);
        // A window that is closed and a system that goes down leave a few seconds.
        let (mut close, mut shutdown) = (ctrl_close()?, ctrl_shutdown()?);
        async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = stop.recv() => {}
                _ = close.recv() => {}
                _ = shutdown.recv() => {}
            }
        }
    };
    Ok(wait)
}

/// Remembers that the process was asked to stop, however many runs come and go meanwhile: each has a
/// runtime of its own, and a signal between two of them must not be lost.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on, on a thread that lives as long as the process.
    ///
    /// # Errors
    /// The system's, when there is no thread, no runtime or no handler to be had.
    pub(crate) fn listen() -> io::Result<Self> {
        let (told, remembered) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = runtime.block_on(async { asked() })?;
        let listen = move || {
            runtime.block_on(asked);
            // Nobody is left to be told when the process is about to end anyway.
            let _ = told.send(true);
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(Self(remembered))
    }

    /// Completes once the process was asked to stop, at once if that was before.
    pub(crate) async fn asked(mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The listener is gone without a word, so nobody will ask.
            std::future::pending::<()>().await;
        }
    }
}
