//! Rows with personal values, also of erased subjects.

use super::*;
use wingbeat::{Personal, Subjects};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.enrol", version = 1, key = reader)]
struct Enrol {
    reader: u32,
    name: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "library.forget", version = 1, key = reader)]
struct Forget {
    reader: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct Reader<const RELEASE: u8> {
    reader: u32,
    name: Personal<String>,
}

impl<const RELEASE: u8> View for Reader<RELEASE> {
    const NAME: &'static str = "readers";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let number = ("number", format!("{:04}", self.reader));
        Vec::from_iter((RELEASE == 2).then_some(number))
    }
}

impl<const RELEASE: u8> Entity for Reader<RELEASE> {
    const NAME: &'static str = "reader";
    type Id = u32;
    const VIEWS: &'static [ViewColumns] = match RELEASE {
        1 => &[ViewColumns::of::<Self>(&[])],
        _ => &[ViewColumns::of::<Self>(&["number"])],
    };

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(id, self)]
    }
}

async fn enrol<const RELEASE: u8>(
    command: Enrol,
    subjects: Subjects,
    readers: Table<Reader<RELEASE>>,
) -> Result<()> {
    let Enrol { reader, name } = command;
    let name = subjects.encrypt(&reader, &name).await?;
    readers.put(&reader, Reader { reader, name })
}

async fn forget(command: Forget, subjects: Subjects) -> Result<()> {
    subjects.erase(&command.reader).await?;
    Ok(())
}

fn readers<const RELEASE: u8>() -> App {
    App::new().service(Service::new("library").on(enrol::<RELEASE>).on(forget))
}

#[test]
fn erased_values_stay_erased_and_the_others_readable() {
    let mut app = TestApp::start(1, readers::<1>());
    for reader in 0..3 {
        let name = format!("Ada {reader}");
        app.publish(Uuid::nil(), &Enrol { reader, name });
    }
    app.until_idle();
    app.publish(Uuid::nil(), &Forget { reader: 1 });
    app.until_idle();
    app.crash(readers::<2>());
    assert_eq!(until_done(&app).records, 3);
    let reads = app.reads("library");
    let names = app.run(async {
        let select = Select::Prefix {
            column: wingbeat::Name::new("number"),
            prefix: String::new(),
            descending: false,
        };
        let listed = reads.rows::<Reader<2>>(select, None, 10).await;
        let mut names = Vec::new();
        for (_, row) in listed.expect("the column is complete").rows {
            let name = reads.personal(&row.reader, &row.name).await;
            names.push(name.expect("the store answers"));
        }
        names
    });
    assert_eq!(names, [Some("Ada 0".into()), None, Some("Ada 2".into())]);
}
