//! Three minimal services with all guarantees: inbox, outbox, versions, confirms.

use axum::extract::Json;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use wingbeat::http::{Problem, Reply, created, post, serve};
use wingbeat::{App, Effects, Entity, Event, Handler as _, Result, Scope, Service, Table};

use crate::client::ports;
use crate::protocol::{Commands, answer};
use crate::workload::Job;

/// The queue that the load generator consumes.
pub(super) const CONFIRMED: &str = "load.order_confirmed";
/// Concurrent handlers.
const CONCURRENCY: usize = 256;
/// The stock of each product.
const STOCK: i64 = 1_000_000_000;

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "orders.order_placed", version = 1, key = order_id)]
struct OrderPlaced {
    order_id: String,
    sku: String,
    quantity: i64,
    amount: i64,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "inventory.stock_reserved", version = 1, key = order_id)]
struct StockReserved {
    order_id: String,
    amount: i64,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "payments.payment_captured", version = 1, key = order_id)]
struct PaymentCaptured {
    order_id: String,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize)]
#[event(name = "orders.order_confirmed", version = 1, key = order_id)]
struct OrderConfirmed {
    order_id: String,
}

/// A request to place an order.
#[derive(Clone, Debug, Deserialize)]
struct Place {
    order_id: String,
    sku: String,
    quantity: i64,
    amount: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    sku: String,
    quantity: i64,
    amount: i64,
    confirmed: bool,
}

impl Entity for Order {
    const NAME: &'static str = "order";
    type Id = String;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stock {
    available: i64,
    reserved: i64,
}

impl Entity for Stock {
    const NAME: &'static str = "stock";
    type Id = String;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    amount: i64,
}

impl Entity for Payment {
    const NAME: &'static str = "payment";
    type Id = String;
}

#[derive(Serialize)]
struct Placed {
    order_id: String,
}

async fn place(
    Json(wanted): Json<Place>,
    scope: Scope,
    orders: Table<Order>,
) -> Result<Reply, Problem> {
    let Place {
        order_id,
        sku,
        quantity,
        amount,
    } = wanted;
    if !(1..=100).contains(&quantity) || sku.is_empty() || order_id.is_empty() {
        return Err(Problem::invalid(
            "/quantity",
            "the quantity is from 1 to 100",
        ));
    }
    if orders.get(&order_id).await?.is_none() {
        let order = Order {
            sku: sku.clone(),
            quantity,
            amount,
            confirmed: false,
        };
        orders.put(&order_id, order)?;
        let mut effects = Effects::new();
        effects.publish(&OrderPlaced {
            order_id: order_id.clone(),
            sku,
            quantity,
            amount,
        });
        scope.emit(effects)?;
    }
    Ok(created(&Placed { order_id }))
}

async fn reserve(placed: OrderPlaced, stock: Table<Stock>) -> Result<StockReserved> {
    let taken = stock.update(&placed.sku, |known| {
        let known = known.unwrap_or(Stock {
            available: STOCK,
            reserved: 0,
        });
        Stock {
            available: known.available - placed.quantity,
            reserved: known.reserved + placed.quantity,
        }
    });
    taken.await?;
    Ok(StockReserved {
        order_id: placed.order_id,
        amount: placed.amount,
    })
}

async fn capture(reserved: StockReserved, payments: Table<Payment>) -> Result<PaymentCaptured> {
    let StockReserved { order_id, amount } = reserved;
    payments.put(&order_id, Payment { amount })?;
    Ok(PaymentCaptured { order_id })
}

async fn confirm(captured: PaymentCaptured, orders: Table<Order>) -> Result<OrderConfirmed> {
    let order_id = captured.order_id;
    let known = orders.get(&order_id).await?;
    let order =
        known.ok_or_else(|| wingbeat::Error::reject("unknown", "there is no such order"))?;
    orders.put(
        &order_id,
        Order {
            confirmed: true,
            ..order
        },
    )?;
    Ok(OrderConfirmed { order_id })
}

/// The answer of a worker.
#[derive(Serialize)]
struct Listening {
    port: u16,
}

/// Runs one service.
pub(crate) async fn worker(service: &str, broker: &str, store: &str) {
    let (_store, ports, _folder) = ports(&Job::on(broker, store)).await;
    let service = match service {
        "orders" => Service::new("orders")
            .routes(axum::Router::new().route("/orders", post(place)))
            .on(confirm.concurrency(CONCURRENCY)),
        "inventory" => Service::new("inventory").on(reserve.concurrency(CONCURRENCY)),
        "payments" => Service::new("payments").on(capture.concurrency(CONCURRENCY)),
        _ => panic!("no service {service}"),
    };
    let app = App::new().service(service);
    let running = app.start(ports).await.unwrap();
    let mut commands = Commands::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    answer(&Listening { port });
    let routes = running.routes();
    drop(tokio::spawn(serve(
        listener,
        routes,
        std::future::pending(),
    )));
    commands.end().await;
}
