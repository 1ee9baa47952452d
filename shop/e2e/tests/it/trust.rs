//! The shop as it is deployed: each process with its own key, and its own users of RabbitMQ,
//! PostgreSQL and Redis.

use serde_json::{Value, json};
use shop_client::Order;
use shop_client::http::Call;
use shop_e2e::fleet::Plan;
use shop_e2e::servers::Servers;
use shop_e2e::verdict::violations;
use shop_e2e::wait::BOUND;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_keys_and_users_of_their_own_complete_orders() {
    let plan = Plan::lean()
        .on(Servers::private().await)
        .signed()
        .with_users()
        .cheap_passwords()
        .ships_after("50ms")
        .with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "10m");
    let mut fleet = plan.start().await;
    let site = fleet.site();
    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    for _ in 0..5 {
        let placed = shopper.place(&order, BOUND).await.unwrap();
        let ended = shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
        assert_eq!(ended.status, "completed");
    }
    let roles = fleet.servers.store().sql(
        "SELECT string_agg(DISTINCT usename, ' ' ORDER BY usename) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    let mut names: Vec<_> = shop_e2e::users::names().collect();
    names.sort_unstable();
    assert_eq!(roles.trim(), names.join(" "), "nobody uses another role");
    assert_eq!(
        violations(&site).await,
        [""; 0],
        "the gateway reads all schemas"
    );
    // Nothing was refused as forged, and the gateway may ask for the stories of all services.
    let path = "/api/v1/admin/dead-letters";
    let letters = site.admin().await.ask(Call::get(path)).await.unwrap();
    let letters: Value = serde_json::from_slice(&letters.body).unwrap();
    assert_eq!(letters, json!({"items": [], "next_cursor": null}));
    let orders = fleet.of("orders")[0].port;
    let direct = shop_client::Shop::at(&format!("http://127.0.0.1:{orders}")).unwrap();
    let path = "/internal/stories/00000000-0000-0000-0000-000000000007";
    let answer = direct.ask(&Call::get(path)).await.unwrap();
    assert_eq!(answer.status, 401);
}
