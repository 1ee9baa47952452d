//! The users that each service knows, in the order of their ids, page by page.

use std::collections::VecDeque;

use shop_identity::audit::Standing;
use wingbeat::run::RunningSystem;
use wingbeat::store::Position;
use wingbeat::{Reads, Result};

/// A service, and what it has of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The users themselves.
    Users,
    /// The carts.
    Carts,
    /// The welcome promos.
    Promos,
    /// The welcome mails.
    Mails,
}

/// The ids of users in one service. At most a page of them is in memory.
pub(super) struct Ids {
    source: Source,
    reads: Reads,
    page: VecDeque<(String, Standing)>,
    /// The id after which the next page begins.
    after: Option<String>,
    /// The position after which the next page of promos begins. A view orders them by owner.
    position: Option<Position>,
    over: bool,
}

impl Ids {
    pub(super) fn of(source: Source, system: &RunningSystem) -> Result<Self> {
        let service = match source {
            Source::Users => "identity",
            Source::Carts => "carts",
            Source::Promos => "promotions",
            Source::Mails => "notifications",
        };
        Ok(Self {
            source,
            reads: system.reads(service)?,
            page: VecDeque::new(),
            after: None,
            position: None,
            over: false,
        })
    }

    /// Returns the next id.
    pub(super) async fn head(&mut self) -> Result<Option<String>> {
        while self.page.is_empty() && !self.over {
            self.read().await?;
        }
        Ok(self.page.front().map(|(id, _)| id.clone()))
    }

    /// Returns whether the next id is the admin's, or that of an erased user: of both nothing is
    /// expected.
    pub(super) fn is_exempt(&self) -> bool {
        let next = self.page.front();
        next.is_some_and(|(_, standing)| *standing != Standing::Active)
    }

    /// Takes the next ids that equal this one. Returns their number.
    pub(super) async fn take(&mut self, id: &str) -> Result<usize> {
        let mut count = 0;
        while self.head().await?.as_deref() == Some(id) {
            self.page.pop_front();
            count += 1;
        }
        Ok(count)
    }

    async fn read(&mut self) -> Result<()> {
        let after = self.after.take();
        let active = |id| (id, Standing::Active);
        let page: Vec<(String, Standing)> = match self.source {
            Source::Users => shop_identity::audit::users(&self.reads, after).await?,
            Source::Carts => {
                let page = shop_carts::audit::owners(&self.reads, after).await?;
                page.into_iter().map(active).collect()
            }
            Source::Mails => {
                let page = shop_notifications::audit::welcomed(&self.reads, after).await?;
                page.into_iter().map(active).collect()
            }
            Source::Promos => {
                let position = self.position.take();
                let page = shop_promotions::audit::welcome_promos(&self.reads, position).await?;
                self.position = page.1;
                self.over = self.position.is_none();
                page.0.into_iter().map(active).collect()
            }
        };
        if self.source != Source::Promos {
            self.after = page.last().map(|(id, _)| id.clone());
            self.over = page.is_empty();
        }
        self.page.extend(page);
        Ok(())
    }
}
