//! One unit that changes the rows of a projection.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use uuid::Uuid;
use wingbeat_core::store::{Page as RowPage, Query, Select, ServiceStore};
use wingbeat_core::{Error, Name, Result};

use crate::decode;
use crate::rebuild::{Followed, Rebuilds, Releases};
use crate::state::{Applied, Built, Control, Parts, Projecting, Walk};
use crate::unit::{Projected, Scope};

/// The notes that one unit takes.
const NOTES: usize = 128;
/// The aggregates that one unit visits on a walk.
const AGGREGATES: usize = 128;
/// The rows of a stored view that one unit removes.
const REMOVED: usize = 256;

/// The result of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// There was nothing to do, or nothing that this process may do now.
    Nothing,
    /// Rows were written or removed, and there may be more.
    Part,
    /// All that was noted counts.
    CaughtUp,
    /// Readers see this version from now on.
    Shown,
}

/// Returns the first rows of a stored view.
pub(super) async fn first(store: &ServiceStore, view: Name, limit: usize) -> Result<RowPage> {
    let query = Query {
        view,
        select: Select::All,
        after: None,
        limit,
    };
    store.rows(query).await
}

/// The state of a projection, as one unit reads it.
pub(super) struct Page<'a> {
    scope: &'a Scope,
    view: Name,
    control: Control,
    releases: Releases,
}

impl<'a> Page<'a> {
    pub(super) async fn load(scope: &'a Scope, rebuilds: &Rebuilds, view: Name) -> Result<Self> {
        Ok(Self {
            scope,
            view,
            control: Control::load(scope, view).await?,
            releases: rebuilds.releases(scope).await?,
        })
    }

    /// Does the next part of the work on a version. `me` is the process; it becomes the holder if
    /// it may `take` the version over.
    pub(super) async fn next(
        mut self,
        projecting: &dyn Projecting,
        me: Uuid,
        take: bool,
    ) -> Result<Did> {
        let it = projecting.projected();
        let new = Built::new(projecting.columns(), me, self.scope.now());
        let Some(built) = self.control.versions.get_mut(&it.version) else {
            if self.control.abandoned == Some(it.version) {
                return self.absent(&it).await;
            }
            self.control.versions.insert(it.version, new);
            self.releases.know(self.view);
            if self.releases.is_only() {
                self.begin_walk(&it);
                return self.apply(projecting, &it).await;
            }
            // From now on another release removes what this one leaves, its notes included.
            self.write()?;
            return Ok(Did::Part);
        };
        if built.holder != me && !take {
            return Ok(Did::Nothing);
        }
        built.holder = me;
        if built.removing {
            return self.remove_own(it.version, new).await;
        }
        let followed = self.releases.followed(self.view);
        let is_noted = followed.is_some_and(|followed| followed.version == it.version);
        if self.releases.is_only() && !is_noted {
            self.begin_walk(&it);
        }
        self.apply(projecting, &it).await
    }

    /// Discards the notes of an abandoned version: a walk will find what they note.
    async fn absent(self, it: &Projected) -> Result<Did> {
        let notes = first(&self.scope.service().store, it.changed, NOTES).await?;
        if notes.rows.is_empty() {
            return self.remove_others(it.version).await;
        }
        for (note, _) in notes.rows {
            self.scope.put_row(it.changed, note, None)?;
        }
        self.write()?;
        Ok(Did::Part)
    }

    /// Begins a walk over all aggregates: there may be events that no release has noted.
    fn begin_walk(&mut self, it: &Projected) {
        if let Some(built) = self.control.versions.get_mut(&it.version) {
            built.walk = Some(Walk::default());
            built.began = self.scope.now();
            built.done = None;
            built.aggregates = 0;
        }
        let followed = Followed {
            version: it.version,
            complete: false,
        };
        self.releases.follow(self.view, followed);
    }

    /// Applies the events of aggregates that are noted or next on the walk.
    async fn apply(mut self, projecting: &dyn Projecting, it: &Projected) -> Result<Did> {
        let store = &self.scope.service().store;
        let notes = first(store, it.changed, NOTES).await?;
        let next = self.next_on_walk(it).await?;
        let is_shown = self.control.shown == Some(it.version);
        if notes.rows.is_empty() && next.is_none() && (is_shown || !self.is_complete(it)) {
            return self.remove_others(it.version).await;
        }
        let noted = notes.rows.iter().map(|(note, row)| {
            let id: String = decode(&row.body)?;
            Ok((note.clone(), id))
        });
        let noted: Vec<(String, String)> = noted.collect::<Result<_>>()?;
        let ids = noted.iter().map(|(_, id)| id);
        let ids = ids.chain(next.iter().flatten()).cloned();
        let applying = AssertUnwindSafe(projecting.apply(self.scope, ids.collect()));
        let applied = applying.catch_unwind().await.unwrap_or_else(|_| {
            let text = "the function that projects events panicked";
            Err(Error::reject("panicked", text))
        })?;
        for (note, id) in noted {
            if !applied.rest.contains(&id) {
                self.scope.put_row(it.changed, note, None)?;
            }
        }
        let caught_up = notes.rows.len() < NOTES && applied.rest.is_empty();
        self.advance(it, next, &applied);
        let caught_up = caught_up && self.is_complete(it);
        if caught_up {
            self.control.shown = Some(it.version);
        }
        self.write()?;
        Ok(match (caught_up, is_shown) {
            (true, false) => Did::Shown,
            (true, true) => Did::CaughtUp,
            (false, _) => Did::Part,
        })
    }

    /// Returns whether the walk of the version that all releases note is complete.
    fn is_complete(&self, it: &Projected) -> bool {
        let followed = self.releases.followed(self.view);
        followed.is_some_and(|followed| followed.complete && followed.version == it.version)
    }

    /// Returns the next aggregates of the walk; `None` if there is no walk, or if it waits for
    /// processes of another release to end.
    async fn next_on_walk(&self, it: &Projected) -> Result<Option<Vec<String>>> {
        let built = self.control.versions.get(&it.version);
        let walk = built.and_then(|built| built.walk.as_ref());
        let Some(walk) = walk.filter(|_| self.releases.is_only()) else {
            return Ok(None);
        };
        let store = &self.scope.service().store;
        let scanned = store.scan(it.table, walk.position.clone(), AGGREGATES);
        Ok(Some(scanned.await?.into_iter().map(|(id, _)| id).collect()))
    }

    /// Notes the progress of a unit.
    fn advance(&mut self, it: &Projected, next: Option<Vec<String>>, applied: &Applied) {
        let Some(built) = self.control.versions.get_mut(&it.version) else {
            return;
        };
        built.units += 1;
        built.events += applied.events;
        built.failure = None;
        let Some(next) = next else { return };
        let whole = next.iter().take_while(|id| !applied.rest.contains(*id));
        let whole: Vec<&String> = whole.collect();
        built.aggregates += whole.len() as u64;
        if let (Some(walk), Some(&last)) = (&mut built.walk, whole.last()) {
            walk.position = Some(last.clone());
        }
        if whole.len() == next.len() && next.len() < AGGREGATES {
            built.walk = None;
            built.done = Some(self.scope.now());
            let followed = Followed {
                version: it.version,
                complete: true,
            };
            self.releases.follow(self.view, followed);
        }
    }

    /// Removes a part of the versions that are neither `version` nor shown.
    async fn remove_others(self, version: u32) -> Result<Did> {
        if !self.releases.is_only() {
            return Ok(Did::Nothing);
        }
        let is_kept = |other: u32| other == version || self.control.shown == Some(other);
        let versions = self.control.versions.keys().copied();
        let mut versions = versions.chain(self.control.abandoned);
        let other = versions.find(|other| !is_kept(*other));
        match other {
            Some(other) => self.remove_left(other).await,
            None => Ok(Did::Nothing),
        }
    }

    /// Removes a part of a projection that this release does not know.
    pub(super) async fn remove_all(mut self) -> Result<Did> {
        if !self.releases.is_only() {
            return Ok(Did::Nothing);
        }
        self.control.shown = None;
        let first = self.control.versions.keys().next().copied();
        match first.or(self.control.abandoned) {
            Some(version) => self.remove_left(version).await,
            None => {
                self.releases.forget(self.view);
                self.write()?;
                Ok(Did::CaughtUp)
            }
        }
    }

    /// Removes a part of a version of another release, and at last that it was abandoned.
    async fn remove_left(mut self, version: u32) -> Result<Did> {
        if self.remove_rows(version).await? && self.control.abandoned == Some(version) {
            self.control.abandoned = None;
        }
        self.write()?;
        Ok(Did::Part)
    }

    /// Removes a part of this release's version. It is built again afterwards, unless it was
    /// abandoned.
    async fn remove_own(mut self, version: u32, new: Built) -> Result<Did> {
        if self.remove_rows(version).await? && self.control.abandoned != Some(version) {
            self.control.versions.insert(version, new);
        }
        self.write()?;
        Ok(Did::Part)
    }

    /// Removes rows, checkpoints and notes of a version, and at last its progress. Returns whether
    /// nothing is left.
    async fn remove_rows(&mut self, version: u32) -> Result<bool> {
        let store = &self.scope.service().store;
        let mut is_last = true;
        for view in Parts::of(self.view.as_str(), version).all() {
            let page = first(store, view, REMOVED).await?;
            is_last &= page.rows.len() < REMOVED;
            for (key, _) in page.rows {
                self.scope.put_row(view, key, None)?;
            }
        }
        if is_last {
            self.control.versions.remove(&version);
            self.releases.unfollow(self.view, version);
        } else if let Some(built) = self.control.versions.get_mut(&version) {
            built.removing = true;
            built.units += 1;
        }
        Ok(is_last)
    }

    fn write(&self) -> Result<()> {
        self.control.write(self.scope, self.view)?;
        self.releases.write(self.scope)
    }
}
