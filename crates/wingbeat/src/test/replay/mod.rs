//! Replay of recorded stories on the code at hand.
//!
//! Production records what handlers were given, read and did ([`Recording`](crate::Recording)); an
//! operator exports a story as a file (`wingbeat replay <correlation id>`, or
//! `GET /ops/recordings/{id}`). A replay runs the handler of each unit again, with the same time,
//! the same message, the same records and the same answers of outside systems, and compares its
//! effects with the recorded ones. New ids are compared up to renaming. Units are independent of
//! each other: each starts from what was recorded, so a difference shows where it arises and not
//! everywhere after it.
//!
//! A test that replays a folder of stories against each change is one line:
//!
//! ```no_run
//! use wingbeat::App;
//! use wingbeat::test::assert_replays;
//! # fn app() -> App { App::new() }
//!
//! // In a test:
//! assert_replays("tests/stories", app());
//! ```
//!
//! What is not replayed, and why, is in `docs/replay.md`.

mod compare;
mod past;
mod report;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wingbeat_core::{Error, Result};

use crate::App;
use crate::story::Story;

pub use report::{Difference, Report, Skipped};
pub use run::Replayer;

/// A story that was exported to a file.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::test::replay::Recorded;
/// use wingbeat::test::TestApp;
/// use wingbeat::Recording;
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "till.sell", version = 1, key = item)]
/// struct Sell { item: String, price: u32, count: u32 }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "till.sold", version = 1, key = item)]
/// struct Sold { item: String, amount: u32 }
///
/// async fn sell(it: Sell) -> Result<Sold> {
///     Ok(Sold { item: it.item, amount: it.price }) // a bug: one item
/// }
///
/// async fn sell_mended(it: Sell) -> Result<Sold> {
///     Ok(Sold { item: it.item, amount: it.price * it.count })
/// }
///
/// let shop = || App::new().service(Service::new("till").on(sell));
/// let app = TestApp::start(1, shop().recording(Recording::all()));
/// let story = uuid::Uuid::from_u128(7);
/// app.publish(story, &Sell { item: "egg".into(), price: 3, count: 12 });
/// app.until_idle();
/// let recorded = Recorded::of(app.run(app.running().recorded(story.into())).unwrap());
///
/// recorded.replay(shop()).assert_same();
/// let mended = App::new().service(Service::new("till").on(sell_mended));
/// let report = recorded.replay(mended);
/// assert_eq!(report.differences.len(), 1);
/// assert!(report.to_string().contains("recorded 3, now 36"), "{report}");
/// ```
#[derive(Clone, Debug)]
pub struct Recorded {
    story: Story,
}

impl Recorded {
    /// Takes a story from memory.
    #[must_use]
    pub fn of(story: Story) -> Self {
        Self { story }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// `story_unreadable` if the file cannot be read, is no story, or has a newer format.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |why: String| {
            let text = format!("{}: {why}", path.display());
            Error::reject("story_unreadable", text)
        };
        let bytes = std::fs::read(path).map_err(|why| unreadable(why.to_string()))?;
        let story = Story::decode(&bytes).map_err(|why| unreadable(why.to_string()))?;
        Ok(Self { story })
    }

    /// Returns the story.
    #[must_use]
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// Runs the units again on this code, and compares. To replay many stories, use one
    /// [`Replayer`].
    #[must_use]
    pub fn replay(&self, app: App) -> Report {
        Replayer::new(app).replay(&self.story)
    }
}

/// Returns the stories of a file, or of all files `*.json` of a folder, by path.
///
/// # Errors
///
/// `story_unreadable` if one cannot be read, or if the folder contains none.
pub fn load_all(path: impl AsRef<Path>) -> Result<BTreeMap<PathBuf, Recorded>> {
    let path = path.as_ref();
    if !path.is_dir() {
        return Ok([(path.to_owned(), Recorded::load(path)?)].into());
    }
    let unreadable = |why: String| {
        let text = format!("{}: {why}", path.display());
        Error::reject("story_unreadable", text)
    };
    let entries = std::fs::read_dir(path).map_err(|why| unreadable(why.to_string()))?;
    let mut all = BTreeMap::new();
    for entry in entries {
        let file = entry.map_err(|why| unreadable(why.to_string()))?.path();
        if file.extension().is_some_and(|it| it == "json") {
            all.insert(file.clone(), Recorded::load(&file)?);
        }
    }
    if all.is_empty() {
        return Err(unreadable("the folder contains no *.json".to_owned()));
    }
    Ok(all)
}

/// Replays a file, or all stories of a folder, and returns how many units were replayed.
///
/// # Panics
///
/// With the differences, if there are any; if a story cannot be read; if a folder contains none; or
/// if no unit could be replayed, which would prove nothing.
pub fn assert_replays(path: impl AsRef<Path>, app: App) -> usize {
    let path = path.as_ref();
    let stories = load_all(path).unwrap_or_else(|why| panic!("{why}"));
    let replayer = Replayer::new(app);
    let (mut units, mut failed) = (0, Vec::new());
    for (file, recorded) in &stories {
        let report = replayer.replay(&recorded.story);
        units += report.replayed;
        if !report.differences.is_empty() {
            failed.push(format!("{}\n{report}", file.display()));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} stories differ:\n{}",
        failed.len(),
        stories.len(),
        failed.join("\n")
    );
    assert!(units > 0, "{}: no unit could be replayed", path.display());
    units
}
