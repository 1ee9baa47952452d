//! A service sees only its own data, even under the names of another service's tables.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::test::TestApp;
use wingbeat::{App, Claims, Command, Entity, JsonSchema, Result, Service, Table, schemars};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Diary {
    text: String,
}

impl Entity for Diary {
    const NAME: &'static str = "diary";
    type Id = String;
}

#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "ada.write", version = 1, key = page)]
struct Write {
    page: String,
}

#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "eve.read", version = 1, key = page)]
struct Read {
    page: String,
}

/// The records that Eve finds: her own one shows that the test reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    diary: bool,
    owner: Option<String>,
}

impl Entity for Found {
    const NAME: &'static str = "found";
    type Id = String;
}

async fn write(command: Write, diary: Table<Diary>, claims: Claims) -> Result<()> {
    claims.claim("page", &command.page, "ada").await?;
    let text = "secret".into();
    diary.put(&command.page, Diary { text })
}

async fn read(
    command: Read,
    diary: Table<Diary>,
    claims: Claims,
    found: Table<Found>,
) -> Result<()> {
    let page = command.page;
    let seen = Found {
        diary: diary.get(&page).await?.is_some(),
        owner: claims.owner("page", &page).await?,
    };
    found.put(&page, seen)
}

#[test]
fn services_with_equal_names_of_tables_see_only_their_own_data() {
    let app = App::new()
        .service(Service::new("ada").on(write))
        .service(Service::new("eve").on(read));
    let app = TestApp::start(1, app);
    let page = String::from("1");
    app.publish(Uuid::nil(), &Write { page: page.clone() });
    app.pass(Duration::from_secs(1));
    app.publish(Uuid::nil(), &Read { page: page.clone() });
    app.pass(Duration::from_secs(1));
    let (ada, eve) = (app.reads("ada"), app.reads("eve"));
    let diary = app.run(ada.entity::<Diary>(&page)).expect("it reads");
    assert_eq!(diary.map(|diary| diary.text).as_deref(), Some("secret"));
    assert!(
        app.run(eve.entity::<Diary>(&page))
            .expect("it reads")
            .is_none()
    );
    let found = app.run(eve.entity::<Found>(&page)).expect("it reads");
    let nothing = Found {
        diary: false,
        owner: None,
    };
    assert_eq!(found, Some(nothing));
}
