//! Time in which this process did not run: it was stopped, or the machine had no time for it. What came in
//! lies unread then, and what was due was not sent, so silence in it does not prove anything.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// After so long between two looks this process, or the whole machine, did not run in between.
const STALL: Duration = Duration::from_millis(100);

/// After so long what is silent may be so because nothing was sent or read.
pub const GAP: Duration = Duration::from_millis(500);

/// How long what has come in may take to be read.
const READ: Duration = Duration::from_millis(25);

/// How often at most it is waited for: where the machine never has the time, what is known has to do.
const READS: usize = 20;

/// Reads the clock once others have had time to read what came in since `before`.
pub async fn catch_up(before: Instant) -> Instant {
    let mut looked = before;
    for _ in 0..READS {
        let now = Instant::now();
        if now.duration_since(looked) <= STALL {
            return now;
        }
        looked = now;
        sleep(READ).await;
    }
    looked
}

/// A clock that stops while this process does not run.
#[derive(Debug)]
pub struct Clock {
    ran: Duration,
    looked: Instant,
}

impl Clock {
    /// How long it sleeps at a time.
    const SLICE: Duration = Duration::from_millis(100);

    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            ran: Duration::ZERO,
            looked: Instant::now(),
        }
    }

    /// How long this process has run since the start; of a time without it a tenth of a second counts.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.ran + self.looked.elapsed().min(Self::SLICE + STALL)
    }

    /// Waits until it has run for so long. What has come in meanwhile can be read before that.
    pub async fn until(&mut self, time: Duration) {
        while self.ran < time {
            let due = self.looked + Self::SLICE.min(time.saturating_sub(self.ran));
            sleep_until(due).await;
            let stalled = due.elapsed() > STALL;
            self.ran = self.now();
            self.looked = Instant::now();
            if stalled {
                sleep(READ).await;
            }
        }
    }
}

/// What comes of `future`, or nothing when this process has run for so long without it.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut clock = Clock::start();
    tokio::select! {
        biased;
        done = future => Some(done),
        () = clock.until(limit) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops this thread, and with it everything that runs on it.
    fn stop(time: Duration) {
        std::thread::sleep(time);
    }

    #[tokio::test]
    async fn a_clock_does_not_count_the_time_without_this_process() {
        let mut clock = Clock::start();
        stop(Duration::from_secs(1));
        assert!(clock.now() <= Duration::from_millis(200));
        let begun = Instant::now();
        clock.until(Duration::from_millis(300)).await;
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(clock.now() >= Duration::from_millis(300));
    }

    #[tokio::test]
    async fn what_came_in_meanwhile_is_read_before_the_time_is_over() {
        let mut clock = Clock::start();
        clock.until(Duration::from_millis(50)).await;
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            stop(Duration::from_secs(1));
            // The answer is there by now, and whoever is to hand it on needs another turn.
            tokio::task::yield_now().await;
            assert!(sender.send(()).await.is_ok());
        });
        tokio::select! {
            biased;
            () = clock.until(Duration::from_millis(100)) => panic!("the time is over"),
            answer = receiver.recv() => assert_eq!(answer, Some(())),
        }
    }

    #[tokio::test]
    async fn who_was_stopped_lets_others_read_first() {
        let before = Instant::now();
        stop(STALL * 3);
        let reader = tokio::spawn(async { Instant::now() });
        let now = catch_up(before).await;
        assert!(now >= reader.await.unwrap());
        let now = catch_up(now).await;
        assert!(now.elapsed() < STALL, "who runs is not kept waiting");
    }
}
