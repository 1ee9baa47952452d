//! Projections that cannot go on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Counts events, and panics at the events of one order while it is broken.
#[derive(Default, Serialize, Deserialize)]
struct Fragile;

static BROKEN: AtomicBool = AtomicBool::new(true);

impl Projection for Fragile {
    type Aggregate = Order;
    type Row = Sales;
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &["items"];

    fn project(&mut self, past: &PastEvent<'_, Order>, rows: &mut Changes<Sales>) {
        let breaks = past.id == "00007" && BROKEN.load(Ordering::SeqCst);
        assert!(!breaks, "this order is not expected");
        rows.update("all", |row| row.items += 1);
    }
}

#[test]
fn a_projection_that_panics_is_shown_as_failing_and_goes_on_when_it_is_repaired() {
    let app = || App::new().service(Service::new("shop").on(sell).projects::<Fragile>());
    let app = TestApp::start(1, app());
    sell_in(&app, 0..5);
    app.pass(Duration::from_secs(5));
    sell_in(&app, 5..10);
    app.pass(Duration::from_secs(5));
    let failing = status(&app, 1);
    assert!(failing.failure.expect("it fails").contains("panicked"));
    let items = || rows(&app).expect("it is shown")["all"].items;
    assert_eq!(items(), 5);
    BROKEN.store(false, Ordering::SeqCst);
    app.pass(Duration::from_secs(120));
    assert_eq!(items(), 10);
    assert_eq!(status(&app, 1).failure, None);
}

/// A projection that does not list its column.
#[derive(Default, Serialize, Deserialize)]
struct Unlisted;

impl Projection for Unlisted {
    type Aggregate = Order;
    type Row = Sales;
    const VERSION: u32 = 1;

    fn project(&mut self, _: &PastEvent<'_, Order>, rows: &mut Changes<Sales>) {
        rows.update("all", |row| row.items += 1);
    }
}

#[test]
fn a_column_that_is_not_listed_is_a_failure() {
    let shop = Service::new("shop").on(sell).projects::<Unlisted>();
    let app = TestApp::start(1, App::new().service(shop));
    sell_in(&app, 0..1);
    app.pass(Duration::from_secs(5));
    let failure = status(&app, 1).failure.expect("it fails");
    assert!(failure.starts_with("rows_undeclared"), "{failure}");
}

#[test]
fn two_projections_of_one_view_are_a_finding() {
    let shop = Service::new("shop").projects::<ByPrice<1>>();
    let app = App::new().service(shop.projects::<Unlisted>());
    let finding = app.check().expect_err("it is refused").to_string();
    assert!(finding.contains("the view sales of shop"), "{finding}");
}

/// Rows in the form of another release.
#[derive(Default, Serialize, Deserialize)]
struct Renamed {
    sold: u64,
}

impl View for Renamed {
    const NAME: &'static str = "sales";
}

#[derive(Default, Serialize, Deserialize)]
struct OtherForm;

impl Projection for OtherForm {
    type Aggregate = Order;
    type Row = Renamed;
    const VERSION: u32 = 2;

    fn project(&mut self, _: &PastEvent<'_, Order>, rows: &mut Changes<Renamed>) {
        rows.update("all", |row| row.sold += 1);
    }
}

#[test]
fn rows_of_the_last_version_in_another_form_are_refused_and_not_broken() {
    let mut app = TestApp::start(1, release(1));
    sell_in(&app, 0..200);
    app.pass(Duration::from_secs(5));
    let shop = Service::new("shop").on(sell).projects::<OtherForm>();
    app.crash(App::new().service(shop));
    let row = |key: &str| app.run(app.reads("shop").row::<Renamed>(key));
    let refused = row("01").err().map(|why| why.code());
    assert_eq!(refused, Some("index_incomplete"));
    until_shown(&app, 2);
    assert_eq!(
        row("all").expect("it is shown").map(|it| it.sold),
        Some(200)
    );
}
