//! The releases that run, for the projections of a service.
//!
//! A release notes each aggregate that changes for the projections that it knows. The record of
//! the rows shows for each projection whether all releases have done so since its walk began: a
//! process of a release that does not know the projection ends the walk when it joins.

use wingbeat_core::{Name, Result};

use super::keeper::Rebuilds;
use super::state::{Followed, State, key};
use crate::decode;
use crate::unit::Scope;

/// The record of the rows, as one unit reads it.
pub(crate) struct Releases {
    before: State,
    state: State,
    is_only: bool,
}

impl Rebuilds {
    /// Reads the record in a unit.
    pub(crate) async fn releases(&self, scope: &Scope) -> Result<Releases> {
        let body = scope.load(&key()).await?.body;
        let state: State = body.map(|it| decode(&it)).transpose()?.unwrap_or_default();
        Ok(Releases {
            before: state.clone(),
            is_only: state.is_only(&self.release),
            state,
        })
    }

    /// Returns whether the walk of a projection was complete at the last look.
    pub(crate) fn is_followed(&self, view: Name, version: u32) -> bool {
        let followed = self.followings().get(view.as_str()).copied().flatten();
        followed.is_some_and(|it| it.complete && it.version == version)
    }

    /// Returns the names of projections that another release has left, as of the last look.
    pub(crate) fn left(&self) -> Vec<String> {
        let known = |name: &String| {
            let mut tables = self.release.values();
            tables.any(|it| it.projections.contains_key(name))
        };
        let followings = self.followings();
        followings.keys().filter(|it| !known(it)).cloned().collect()
    }
}

impl Releases {
    /// Returns whether no process of another release runs.
    pub(crate) fn is_only(&self) -> bool {
        self.is_only
    }

    /// Returns the version of a projection for which all releases note changes.
    pub(crate) fn followed(&self, view: Name) -> Option<Followed> {
        self.state.projections.get(view.as_str()).copied().flatten()
    }

    pub(crate) fn follow(&mut self, view: Name, followed: Followed) {
        let name = view.as_str().to_owned();
        self.state.projections.insert(name, Some(followed));
    }

    /// Notes that a projection has stored something, so that another release finds and removes it.
    pub(crate) fn know(&mut self, view: Name) {
        let name = view.as_str().to_owned();
        self.state.projections.entry(name).or_default();
    }

    /// Ends the walk of a version that was removed.
    pub(crate) fn unfollow(&mut self, view: Name, version: u32) {
        if let Some(followed) = self.state.projections.get_mut(view.as_str()) {
            *followed = followed.filter(|it| it.version != version);
        }
    }

    /// Removes a projection without any stored data.
    pub(crate) fn forget(&mut self, view: Name) {
        self.state.projections.remove(view.as_str());
    }

    /// Writes the record if it has changed.
    pub(crate) fn write(&self, scope: &Scope) -> Result<()> {
        if self.state == self.before {
            return Ok(());
        }
        scope.write(self.state.write())
    }
}
