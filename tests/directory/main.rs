//! The directory of torrents that `sprat tracker --directory` serves: from the terminal, by its API, by what indexers ask, in a
//! browser. [`scenarios`] holds what has to be so with either store.

mod api;
mod browser;
mod feeds;
mod hostile;
mod kill;
mod scenarios;
mod terminal;
