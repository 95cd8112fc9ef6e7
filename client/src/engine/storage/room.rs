//! A full disk: whoever has to write waits until there is room. What comes meanwhile fills the buffers, and then stays with the peers.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::{StorageError, StorageEvent};

/// Time between two attempts. Nobody tells when somebody has made room.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// It was said that there is none.
    lacking: bool,
    /// Nobody waits any more: the torrent is to stop.
    given_up: bool,
}

impl Room {
    /// There was no room. Returns when it is time to try again; with the error once nobody waits any more. The first one says so.
    pub(super) fn wait(
        &self,
        error: StorageError,
        events: &mpsc::UnboundedSender<StorageEvent>,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().unwrap();
        if !std::mem::replace(&mut state.lacking, true) && !state.given_up {
            let _ = events.send(StorageEvent::NoRoom(error.again()));
        }
        let waiting = |state: &mut State| !state.given_up;
        let (state, _) = self.changed.wait_timeout_while(state, AGAIN, waiting).unwrap();
        if state.given_up { Err(error) } else { Ok(()) }
    }

    /// Something was written. If there was no room before, says that there is again.
    pub(super) fn found(&self, events: &mpsc::UnboundedSender<StorageEvent>) {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.lacking) {
            let _ = events.send(StorageEvent::Room);
        }
    }

    /// Whoever waits, and would wait, fails instead.
    pub(super) fn give_up(&self) {
        self.state.lock().unwrap().given_up = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> StorageError {
        StorageError::Full { path: "a".into(), shortage: None }
    }

    #[test]
    fn it_is_told_once_that_there_is_no_room_and_once_that_there_is() {
        let (events, mut told) = mpsc::unbounded_channel();
        let room = Room::default();
        room.found(&events);
        room.give_up();
        assert!(room.wait(full(), &events).is_err());
        assert!(told.try_recv().is_err(), "whoever gives up has been told already");
        let room = Room::default();
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..2).map(|_| scope.spawn(|| while room.wait(full(), &events).is_ok() {})).collect();
            assert!(matches!(told.blocking_recv(), Some(StorageEvent::NoRoom(_))));
            room.give_up();
            waiting.into_iter().for_each(|thread| thread.join().unwrap());
        });
        room.found(&events);
        room.found(&events);
        assert!(matches!(told.try_recv(), Ok(StorageEvent::Room)));
        assert!(told.try_recv().is_err());
    }
}
