//! The shop with roles in PostgreSQL that may not create anything.

use std::process::Stdio;

use shop_client::Order;
use shop_e2e::process::Place;
use shop_e2e::servers::Servers;
use shop_e2e::verdict::violations;
use shop_e2e::wait::BOUND;

use crate::start::assert_refused;

/// Creates a role that may create schemas, and one that may not.
const ROLES: &str = "
    CREATE ROLE least_owner LOGIN; CREATE ROLE least_service LOGIN;
    DO $$ BEGIN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO least_owner', current_database());
    END $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_create_runs_the_shop_once_it_is_migrated() {
    let servers = Servers::shared().await;
    let _ = servers.sql(ROLES);
    let store = |role: &str| {
        servers
            .store_url()
            .replace("//postgres@", &format!("//{role}@"))
    };
    let data = tempfile::tempdir().unwrap();
    let mut place = Place::new(data.path()).with("SHOP_ADMIN_PASSWORD", "s3cret of the admin");
    for (name, value) in servers.settings() {
        let value = if name == "WINGBEAT_STORE" {
            store("least_service")
        } else {
            value
        };
        place = place.with(&name, &value);
    }
    let place = place.with("WINGBEAT_DEV", "on").ships_after("50ms");

    let mut command = place.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let refused = command.output().unwrap();
    assert_refused(&refused, &["store_not_migrated", "run `shop migrate`"]);

    let migrate = |role: &str, more: &[&str]| {
        let mut command = std::process::Command::new(shop_e2e::process::binary());
        command
            .args(["migrate", "--store", &store(role)])
            .args(more);
        command.output().unwrap()
    };
    let refused = migrate("least_service", &[]);
    assert_refused(&refused, &["migrate_refused"]);
    let migrated = migrate("least_owner", &["--grant-to", "least_service"]);
    let told = String::from_utf8_lossy(&migrated.stdout);
    assert!(
        migrated.status.success() && told.contains("orders"),
        "{migrated:?}"
    );

    let running = place.start().await;
    let shopper = place.shop().shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
    assert_eq!(ended.status, "completed");
    assert_eq!(violations(&place.site()).await, [""; 0]);
    drop(running);
}
