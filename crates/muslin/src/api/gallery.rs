//! Threads of their own for those who watch.
//!
//! A crowd that is told everything keeps processors busy. Told on the threads on which the driver
//! runs and writes are answered, it would stand before each of them at every step. The system
//! shares processors among threads, and one that is seldom busy hardly waits beside one that always
//! is: so a connection goes on in the gallery once something is watched on it. A client that also
//! writes on it waits for its own events at most.

use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinHandle};

/// Where connections are served on which something is watched. Has no threads until there are some.
#[derive(Default)]
pub(super) struct Gallery {
    /// `None`: the system gave no threads.
    runtime: OnceLock<Option<Runtime>>,
}

impl Gallery {
    /// Runs a task there; here if there is no such place.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match self.runtime.get_or_init(begin) {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }

    /// Goes on with something there. It ends with whoever waits for this; `None` if it is ended
    /// otherwise.
    pub(super) async fn seat<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.spawn(task);
        let _ends = Ends(task.abort_handle());
        task.await.ok()
    }
}

impl Drop for Gallery {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.runtime.take() {
            // The last one to leave may be one of its own tasks.
            runtime.shutdown_background();
        }
    }
}

struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Half as many threads as there are for all else.
fn begin() -> Option<Runtime> {
    let workers = Handle::current().metrics().num_workers().div_ceil(2);
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(workers).thread_name("muslin-watch").enable_all();
    let runtime = builder.build();
    if let Err(error) = &runtime {
        tracing::warn!(%error, "no threads for watches: they are told where writes are answered");
    }
    runtime.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_is_seated_goes_on_elsewhere_and_ends_with_whoever_waits_for_it() {
        let gallery = Arc::new(Gallery::default());
        let here = std::thread::current().id();
        let there = gallery.seat(async { std::thread::current().id() }).await;
        assert!(there.is_some_and(|there| there != here));
        let (sender, ended) = oneshot::channel::<()>();
        let own = gallery.clone();
        let waiting = tokio::spawn(async move {
            let forever = async move {
                let _sender = sender;
                std::future::pending::<()>().await;
            };
            own.seat(forever).await
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(ended.await.is_err(), "what it held is gone");
    }
}
