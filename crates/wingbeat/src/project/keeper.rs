//! The tasks that keep the rows of projections up to date.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;
use wingbeat_core::text::printable;
use wingbeat_core::{Class, Name, Result, RuntimeExt as _, TraceParent};

use super::page::{Did, Page, first};
use crate::rebuild::{RebuildStatus, Rebuilds};
use crate::runtime::Control as Process;
use crate::state::{Control, Projecting};
use crate::telemetry::{self, Context};
use crate::unit::{ServiceContext, run_unit};

/// The pause between two looks of a process that waits for others.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pause after an error of the store.
const AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two units. A unit that took longer is followed by a pause as long as
/// itself, so that live units get at least half of the store's time.
const UNIT_EVERY: Duration = Duration::from_millis(25);
/// The pause after all notes were taken, so that the next unit takes several. It doubles while
/// there are none, up to [`IDLE_MAX`].
const GATHER: Duration = Duration::from_millis(100);
/// The longest pause without notes.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// The pause after stored data that cannot be read.
const FAILED: Duration = Duration::from_secs(60);
/// The number of looks without progress after which another process takes over.
const HOLDER_ENDED: u32 = 3;
/// The same for a version that has failed, which is tried again once a minute.
const FAILED_HOLDER_ENDED: u32 = 40;
/// The pause between two searches for projections that another release has left.
const LEFT_EVERY: Duration = Duration::from_secs(5);
/// The longest stored failure, in bytes.
const FAILURE_MAX: usize = 1_024;

/// The projections of a service, as its builder registers them.
pub(crate) type Registered = Vec<Arc<dyn Projecting>>;

/// The projections of a service.
pub(crate) struct Projections {
    service: Arc<ServiceContext>,
    rebuilds: Arc<Rebuilds>,
    all: Vec<Arc<Projector>>,
}

impl Projections {
    pub(crate) fn new(
        service: &Arc<ServiceContext>,
        rebuilds: &Arc<Rebuilds>,
        registered: Registered,
    ) -> Self {
        let all = registered.into_iter().map(|projecting| {
            Arc::new(Projector {
                service: Arc::clone(service),
                rebuilds: Arc::clone(rebuilds),
                projecting,
                me: service.runtime.id(),
                looks: Mutex::default(),
                idle: AtomicU32::new(0),
                not_before: Mutex::default(),
            })
        });
        Self {
            all: all.collect(),
            service: Arc::clone(service),
            rebuilds: Arc::clone(rebuilds),
        }
    }

    /// Returns whether there is nothing to do, and never will be.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.rebuilds.left().is_empty()
    }

    /// Does a first part, before the service's first unit: the rows of a new service are complete.
    pub(crate) async fn begin(&self) {
        for projector in &self.all {
            if let Err(why) = projector.turn().await {
                let view = projector.projecting.projected().view;
                tracing::warn!(service = %self.service.name, %view, code = why.code(), "cannot look after a projection, trying again: {why}");
            }
        }
    }

    /// Starts the tasks, which end when the service drains.
    pub(crate) fn spawn(self: &Arc<Self>, control: &watch::Receiver<Process>) {
        let runtime = &self.service.runtime;
        for projector in &self.all {
            let following = Arc::clone(projector).follow(control.clone());
            runtime.spawn(Box::pin(following));
        }
        let removing = Arc::clone(self).remove_left(control.clone());
        runtime.spawn(Box::pin(removing));
    }

    /// Returns the states of all versions.
    pub(crate) async fn statuses(&self) -> Result<Vec<RebuildStatus>> {
        let mut all = Vec::new();
        for projector in &self.all {
            let projected = projector.projecting.projected();
            let control = Control::read(&self.service.store, projected.view).await?;
            all.extend(super::status::all(self.service.name, &projected, &control));
        }
        Ok(all)
    }

    /// Abandons the rows that this release builds, or lets it build them again. Returns `false` if
    /// there is no such projection here, or if readers see the rows already.
    pub(crate) async fn abandon(&self, view: &str, abandoned: bool) -> Result<bool> {
        let mut projections = self.all.iter().map(|it| it.projecting.projected());
        let Some(it) = projections.find(|it| it.view.as_str() == view) else {
            return Ok(false);
        };
        run_unit(&self.service, |scope| async move {
            let mut control = Control::load(&scope, it.view).await?;
            if abandoned {
                if control.shown == Some(it.version) {
                    return Ok(false);
                }
                control.abandoned = Some(it.version);
                if let Some(built) = control.versions.get_mut(&it.version) {
                    built.removing = true;
                }
            } else if control.abandoned.take().is_none() {
                return Ok(false);
            }
            control.write(&scope, it.view)?;
            Ok(true)
        })
        .await
    }

    /// Removes what another release has left of projections that this one does not know.
    async fn remove_left(self: Arc<Self>, mut control: watch::Receiver<Process>) {
        let runtime = &self.service.runtime;
        let mut pause = LEFT_EVERY;
        loop {
            tokio::select! {
                biased;
                _ = control.changed() => return,
                () = runtime.sleep(pause) => {}
            }
            pause = LEFT_EVERY;
            for name in self.rebuilds.left() {
                match self.remove(Name::intern(&name)).await {
                    Ok(Did::Part) => pause = UNIT_EVERY,
                    Ok(_) => {}
                    Err(why) => {
                        tracing::debug!(service = %self.service.name, view = name, code = why.code(), "cannot remove a projection, trying again: {why}");
                    }
                }
            }
        }
    }

    async fn remove(&self, view: Name) -> Result<Did> {
        run_unit(&self.service, |scope| async move {
            let page = Page::load(&scope, &self.rebuilds, view).await?;
            page.remove_all().await
        })
        .await
    }
}

/// One projection of this release.
struct Projector {
    service: Arc<ServiceContext>,
    rebuilds: Arc<Rebuilds>,
    projecting: Arc<dyn Projecting>,
    /// This process among the replicas.
    me: Uuid,
    /// The record at the last look, and the number of looks since it changed.
    looks: Mutex<Option<(Control, u32)>>,
    /// The number of times in a row that there was no note.
    idle: AtomicU32,
    /// The time before which what has failed is not tried again.
    not_before: Mutex<Duration>,
}

impl Projector {
    async fn follow(self: Arc<Self>, mut control: watch::Receiver<Process>) {
        let runtime = &self.service.runtime;
        let mut pause = UNIT_EVERY;
        loop {
            let random = runtime.jitter(pause / 8);
            tokio::select! {
                biased;
                _ = control.changed() => return,
                () = runtime.sleep(pause + random) => {}
            }
            pause = self.turn().await.unwrap_or_else(|why| {
                tracing::debug!(service = %self.service.name, code = why.code(), "cannot look after a projection, trying again: {why}");
                AGAIN
            });
        }
    }

    /// Does the next part of the work if it is this process's turn. Returns the pause until the
    /// next turn.
    async fn turn(&self) -> Result<Duration> {
        let (it, store) = (self.projecting.projected(), &self.service.store);
        let control = Control::read(store, it.view).await?;
        if control.is_settled(it.version)
            && self.rebuilds.is_followed(it.view, it.version)
            && first(store, it.changed, 1).await?.rows.is_empty()
        {
            *lock(&self.looks) = None;
            let times = self.idle.fetch_add(1, Ordering::Relaxed);
            return Ok((GATHER * 2_u32.pow(times.min(8))).min(IDLE_MAX));
        }
        self.idle.store(0, Ordering::Relaxed);
        let Some(take) = self.may_take(&control) else {
            return Ok(LOOK_EVERY);
        };
        let runtime = &self.service.runtime;
        let began = runtime.elapsed();
        if began < *lock(&self.not_before) {
            return Ok(LOOK_EVERY);
        }
        let did = match self.page(take).await {
            Ok(did) => did,
            Err(why) if why.class() == Class::Retry => return Err(why),
            Err(why) => {
                self.fail(&format!("{}: {why}", why.code())).await?;
                return Ok(LOOK_EVERY);
            }
        };
        if did == Did::Shown {
            tracing::info!(service = %self.service.name, view = %it.view, version = it.version, "readers see this version of a projection");
        }
        Ok(match did {
            Did::Nothing => LOOK_EVERY,
            Did::CaughtUp => GATHER,
            Did::Part | Did::Shown => runtime.elapsed().saturating_sub(began).max(UNIT_EVERY),
        })
    }

    /// Returns whether this process may take the version over from another one; `None` if that
    /// one is at work.
    fn may_take(&self, control: &Control) -> Option<bool> {
        let version = self.projecting.projected().version;
        let Some(built) = control
            .versions
            .get(&version)
            .filter(|it| it.holder != self.me)
        else {
            return Some(false);
        };
        let mut looks = lock(&self.looks);
        let count = match looks.take() {
            Some((before, count)) if before == *control => count + 1,
            _ => 0,
        };
        *looks = Some((control.clone(), count));
        let ended = match built.failure {
            Some(_) => FAILED_HOLDER_ENDED,
            None => HOLDER_ENDED,
        };
        (count >= ended).then_some(true)
    }

    async fn page(&self, take: bool) -> Result<Did> {
        let view = self.projecting.projected().view;
        let trace = TraceParent::of(self.service.runtime.id());
        let name = self.service.name;
        let span = telemetry::unit_span(format_args!("project {view}"), name, trace, None);
        let written = run_unit(&self.service, |scope| async move {
            let page = Page::load(&scope, &self.rebuilds, view).await?;
            page.next(&*self.projecting, self.me, take).await
        });
        Context::at(trace).run(span, Box::pin(written)).await
    }

    /// Stores the error because of which it does not go on, and waits for a minute.
    async fn fail(&self, why: &str) -> Result<()> {
        let it = self.projecting.projected();
        tracing::warn!(service = %self.service.name, view = %it.view, version = it.version, "events cannot be projected, trying again in a minute: {why}");
        run_unit(&self.service, |scope| async move {
            let mut control = Control::load(&scope, it.view).await?;
            if let Some(built) = control.versions.get_mut(&it.version) {
                built.failure = Some(printable(why, FAILURE_MAX));
                built.holder = self.me;
                control.write(&scope, it.view)?;
            }
            Ok::<_, wingbeat_core::Error>(())
        })
        .await?;
        *lock(&self.not_before) = self.service.runtime.elapsed() + FAILED;
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
