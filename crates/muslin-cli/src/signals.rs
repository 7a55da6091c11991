//! Being asked to stop.

use crate::failure::{Failure, Kind};
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGINT, SIGTERM or SIGHUP. Must be called inside the runtime; the handlers
/// are in place when it returns.
pub(crate) fn stop() -> Result<impl Future<Output = ()> + Send, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Runs a command until it is done or the person presses Ctrl-C.
pub(crate) async fn until_interrupt<T>(
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        answer = command => answer,
        _ = tokio::signal::ctrl_c() => Err(Failure::silent(Kind::Interrupted)),
    }
}
