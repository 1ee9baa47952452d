//! Documents derived from the wiring, and routes that match their descriptions.

use axum::body::Body;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use wingbeat::describe::{Info, asyncapi, openapi};
use wingbeat::http::{
    Admin, Caller, DescribeRequest, IdempotencyKey, Json, Path, Problem, Query, Reply, Routes,
    accepted, created, get, no_content, ok, plain, post, put,
};
use wingbeat::test::TestApp;
use wingbeat::test::documents::{asyncapi_faults, openapi_faults};
use wingbeat::{
    App, Command, Effects, Either, Entity, Event, JsonSchema, Result, Service, Table, Timestamp,
    schemars,
};

/// A room of the hotel.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Room {
    name: String,
    /// Nights that are booked.
    #[serde(default)]
    nights: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cleaned_at: Option<Timestamp>,
}

impl Entity for Room {
    const NAME: &'static str = "room";
    type Id = String;
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "hotel.book", version = 1, key = room)]
struct Book {
    room: String,
    stay: Stay,
}

/// Nights, and guests by name and age.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Stay {
    nights: u32,
    guests: Vec<(String, u8)>,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.booked", version = 2, key = room)]
struct Booked {
    room: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "hotel.full", version = 1, key = room)]
struct Full {
    room: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "hotel.air", version = 1, key = room, internal)]
struct Air {
    room: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "laundry.wash", version = 1, key = room)]
struct Wash {
    room: String,
}

async fn book(command: Book) -> Result<(Either<Booked, Full>, Vec<Wash>)> {
    let room = command.room;
    Ok((Either::Left(Booked { room }), Vec::new()))
}

async fn air(_: Air) -> Result<()> {
    Ok(())
}

async fn booked(event: Booked) -> Result<Effects> {
    let mut effects = Effects::new();
    effects.send(&Air { room: event.room });
    Ok(effects)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRoom {
    #[schemars(length(min = 1, max = 20))]
    name: String,
}

/// A reader of a plain handler that describes nothing.
struct Nothing;

impl DescribeRequest for Nothing {}

impl<S: Sync> axum::extract::FromRequestParts<S> for Nothing {
    type Rejection = Problem;

    async fn from_request_parts(
        _: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Problem> {
        Ok(Self)
    }
}

async fn open_room(Json(new): Json<NewRoom>, rooms: Table<Room>) -> Result<Reply, Problem> {
    let room = Room {
        name: new.name,
        ..rooms.get(&"any".into()).await?.unwrap_or_default()
    };
    let nights = room.nights + 1;
    let room = Room { nights, ..room };
    rooms.put(&"any".into(), room.clone())?;
    Ok(accepted(&room))
}

async fn replace(
    (_, Path(name), Json(room)): (Admin, Path<String>, Json<Room>),
    _key: Option<IdempotencyKey>,
) -> Result<Reply, Problem> {
    Ok(ok(&Room { name, ..room }))
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    /// A part of the name.
    part: String,
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
}

async fn list(_: Nothing, Query(filter): Query<Filter>) -> Result<Reply, Problem> {
    let name = filter.part;
    let nights = filter.limit.unwrap_or(1);
    Ok(ok(&[Room {
        name,
        nights,
        cleaned_at: None,
    }]))
}

async fn remove(
    Caller(_): Caller,
    Path((floor, room)): Path<(u8, String)>,
) -> Result<Reply, Problem> {
    Ok(created(&(floor, room)))
}

fn routes() -> Routes {
    Routes::new()
        .route(
            "/rooms",
            post(open_room)
                .idempotent()
                .summary("Opens a room")
                .answers::<Room>(202)
                .problem(409, "no_space", "The hotel is full."),
        )
        .route("/rooms", get(list).answers::<Vec<Room>>(200))
        .route("/rooms/{name}", put(replace).answers::<Room>(200))
        .route(
            "/floors/{floor}/rooms/{room}",
            plain::delete(remove).tag("floors").answers::<()>(204),
        )
}

fn app() -> App {
    let plain = axum::Router::new().route("/plain", axum::routing::get(async || no_content()));
    let hotel = Service::new("hotel")
        .on(book)
        .on(air)
        .publishes::<Full>()
        .routes(routes())
        .routes(plain);
    let laundry = Service::new("laundry").on(booked);
    App::new().service(hotel).service(laundry)
}

fn info() -> Info {
    Info::new("The hotel", "3").description("Rooms and nights.")
}

#[test]
fn the_message_document_lists_all_exchanged_messages() {
    let document = asyncapi(&app(), &info());
    assert_eq!(asyncapi_faults(&document), [] as [String; 0]);
    let channels: Vec<_> = document["channels"].as_object().unwrap().keys().collect();
    let names = [
        "hotel.book.v1",
        "hotel.booked.v2",
        "hotel.full.v1",
        "laundry.wash.v1",
    ];
    assert_eq!(channels, names);
    let operations: Vec<_> = document["operations"].as_object().unwrap().keys().collect();
    let expected = [
        "hotel sends hotel.booked.v2",
        "hotel sends hotel.full.v1",
        "hotel sends laundry.wash.v1",
        "hotel.book receives hotel.book.v1",
        "laundry.booked receives hotel.booked.v2",
    ];
    assert_eq!(operations, expected);
    let exchange = |name: &str| {
        let bindings = &document["channels"][name]["bindings"]["amqp"];
        bindings["exchange"]["name"].clone()
    };
    assert_eq!(exchange("hotel.booked.v2"), "wingbeat.events");
    assert_eq!(exchange("hotel.book.v1"), "wingbeat.commands");
    let introduction = document["info"]["description"].as_str().unwrap();
    assert!(introduction.starts_with("Rooms and nights.\n\nMessages are CloudEvents 1.0"));
}

#[test]
fn payload_schemas_are_draft_7_and_refer_into_the_document() {
    let document = asyncapi(&app(), &info());
    let message = &document["components"]["messages"]["hotel.book.v1"];
    assert_eq!(message["payload"]["$ref"], "#/components/schemas/Book");
    assert_eq!(
        message["tags"],
        json!([{"name": "command"}, {"name": "hotel"}])
    );
    let schemas = &document["components"]["schemas"];
    let stay = &schemas["Book"]["properties"]["stay"];
    assert_eq!(stay["$ref"], "#/components/schemas/Stay");
    let guests = &schemas["Stay"]["properties"]["guests"]["items"];
    assert_eq!(guests["items"][0]["type"], "string", "a tuple in draft 7");
    assert_eq!(
        schemas["Stay"]["description"],
        "Nights, and guests by name and age."
    );
}

#[test]
fn a_message_type_has_its_own_schema() {
    let schema = <Book as wingbeat::Message>::schema().to_value();
    assert_eq!(schema["properties"]["stay"]["$ref"], "#/$defs/Stay");
    assert!(schema["$defs"]["Stay"]["properties"]["nights"].is_object());
}

#[test]
fn the_route_document_lists_requests_and_answers() {
    let document = openapi(&app(), &info());
    assert_eq!(openapi_faults(&document), [] as [String; 0]);
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        ["/floors/{floor}/rooms/{room}", "/rooms", "/rooms/{name}"]
    );
    let open = &document["paths"]["/rooms"]["post"];
    assert_eq!(open["operationId"], "post_rooms");
    assert_eq!(open["summary"], "Opens a room");
    assert_eq!(open["tags"], json!(["hotel"]));
    assert_eq!(open["security"], Value::Null);
    assert_eq!(
        statuses(open),
        [
            "202", "400", "408", "409", "413", "415", "422", "503", "default"
        ]
    );
    let key = &open["parameters"][0];
    assert_eq!(
        (&key["name"], &key["required"]),
        (&json!("Idempotency-Key"), &json!(true))
    );
    let conflict = open["responses"]["409"]["description"].as_str();
    assert_eq!(conflict, Some("`no_space`: The hotel is full."));
    let new = &document["components"]["schemas"]["NewRoom"];
    assert_eq!(new["properties"]["name"]["maxLength"], 20);
    assert_eq!(new["additionalProperties"], false);
}

#[test]
fn parameters_come_from_paths_queries_and_headers() {
    let document = openapi(&app(), &info());
    let floors = &document["paths"]["/floors/{floor}/rooms/{room}"]["delete"];
    assert_eq!(floors["tags"], json!(["floors"]));
    assert_eq!(
        statuses(floors),
        ["204", "401", "403", "404", "503", "default"]
    );
    assert_eq!(floors["security"], json!([{"bearer": []}, {"cookie": []}]));
    let parameters = &floors["parameters"];
    assert_eq!(
        (&parameters[0]["name"], &parameters[0]["schema"]["type"]),
        (&json!("floor"), &json!("integer"))
    );
    assert_eq!(
        (&parameters[1]["name"], &parameters[1]["schema"]["type"]),
        (&json!("room"), &json!("string"))
    );
    let list = &document["paths"]["/rooms"]["get"];
    let limit = json!({"name": "limit", "in": "query", "required": false,
        "schema": {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 50}});
    let part = json!({"name": "part", "in": "query", "required": true,
        "description": "A part of the name.", "schema": {"type": "string"}});
    assert_eq!(list["parameters"], json!([limit, part]));
    let replace = &document["paths"]["/rooms/{name}"]["put"];
    let key = &replace["parameters"][1];
    assert_eq!(
        (&key["name"], &key["required"]),
        (&json!("Idempotency-Key"), &json!(false))
    );
}

#[test]
fn a_type_may_have_two_schemas_in_requests_and_answers() {
    let document = openapi(&app(), &info());
    let replace = &document["paths"]["/rooms/{name}"]["put"];
    let body = &replace["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/RoomRequest");
    let answer = &replace["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(answer["$ref"], "#/components/schemas/Room");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Room"]["required"], json!(["name", "nights"]));
    assert_eq!(schemas["RoomRequest"]["required"], json!(["name"]));
    let cleaned = &schemas["Room"]["properties"]["cleaned_at"];
    assert_eq!(cleaned["format"], "date-time");
}

fn statuses(operation: &Value) -> Vec<&String> {
    operation["responses"]
        .as_object()
        .expect("an object")
        .keys()
        .collect()
}

#[test]
fn an_idempotent_endpoint_requires_a_key_and_repeats_its_answer() {
    let app = TestApp::start(1, app());
    let room = json!({"name": "Blue"});
    let (status, problem) = app.ask("POST", "/rooms", "", &room);
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("idempotency_key_missing"))
    );
    let first = app.post("/rooms", "", "k", &room);
    assert_eq!((first.0, &first.1["nights"]), (202, &json!(1)));
    assert_eq!(app.post("/rooms", "", "k", &room), first);
    let (status, problem) = app.post("/rooms", "", "k", &json!({"name": "Red"}));
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    let (_, second) = app.post("/rooms", "", "l", &room);
    assert_eq!(second["nights"], 2, "another key is another request");
}

#[test]
fn an_optional_key_is_an_argument() {
    let app = TestApp::start(1, app());
    let admin = app.sign_in(Uuid::from_u128(1), true);
    let room = json!({"name": "Blue", "nights": 3});
    assert_eq!(app.ask("PUT", "/rooms/Red", &admin, &room).0, 200);
    let two_words = app.post("/rooms", "", "two words", &json!({"name": "Blue"}));
    assert_eq!(two_words.0, 400);
}

#[test]
fn plain_routers_are_served_but_not_described() {
    let app = TestApp::start(1, app());
    let request = Request::get("/plain").body(Body::empty()).unwrap();
    assert_eq!(app.send(request).status(), 204);
    let request = Request::get("/rooms?part=Blue")
        .body(Body::empty())
        .unwrap();
    assert_eq!(app.send(request).status(), 200);
}

#[test]
fn the_problem_description_of_an_endpoint_overrides_its_extractors() {
    let room = get(async |_: Path<String>| no_content()).problem(
        404,
        "not_found",
        "There is no such room.",
    );
    let routes = Routes::new().route("/rooms/{name}", room);
    let app = App::new().service(Service::new("hotel").routes(routes));
    let document = openapi(&app, &info());
    let missing = &document["paths"]["/rooms/{name}"]["get"]["responses"]["404"];
    assert_eq!(
        missing["description"],
        "`not_found`: There is no such room."
    );
}
